import asyncio
import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from starlette.requests import ClientDisconnect

from service.http.context import RequestContext
from service.http.routes.classify import classify

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("disconnects", [True, False])
async def test_uploads_of_a_request_are_cancelled_together(disconnects: bool) -> None:
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in range(3)]
    model_server = Mock(submit=lambda *_: futures)
    context = RequestContext({}, "id", time.perf_counter())
    app = SimpleNamespace(state=SimpleNamespace(model_server=model_server))
    request: Any = SimpleNamespace(app=app, scope={"state": {"context": context}})

    answering = asyncio.create_task(classify(request, Mock(), [], None))
    await asyncio.sleep(0)
    if disconnects:
        context.disconnected = True
        assert context.on_disconnect
        context.on_disconnect()
    else:
        answering.cancel()
    with pytest.raises(ClientDisconnect if disconnects else asyncio.CancelledError):
        await answering
    assert all(future.cancelled() for future in futures)
    model_server.drop_cancelled.assert_called_once()


async def test_client_that_left_before_is_not_computed_for() -> None:
    submit = Mock()
    context = RequestContext({}, "id", time.perf_counter(), disconnected=True)
    app = SimpleNamespace(state=SimpleNamespace(model_server=Mock(submit=submit)))
    request: Any = SimpleNamespace(app=app, scope={"state": {"context": context}})
    with pytest.raises(ClientDisconnect):
        await classify(request, Mock(), [], None)
    submit.assert_not_called()
