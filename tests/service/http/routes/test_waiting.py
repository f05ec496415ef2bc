import asyncio
import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from starlette.requests import ClientDisconnect

from service.http.routes.waiting import classify

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("client_leaves", [True, False])
async def test_pictures_of_a_request_are_given_up_together(client_leaves: bool) -> None:
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in range(3)]
    model_server = Mock(submit=lambda *_: futures)
    state: dict[str, Any] = {"started_at": time.perf_counter()}
    app = SimpleNamespace(state=SimpleNamespace(model_server=model_server))
    request: Any = SimpleNamespace(app=app, scope={"state": state})

    answering = asyncio.create_task(classify(request, Mock(), [], None))
    await asyncio.sleep(0)
    if client_leaves:
        state["on_disconnect"]()
    else:
        answering.cancel()
    with pytest.raises(ClientDisconnect if client_leaves else asyncio.CancelledError):
        await answering
    assert all(future.cancelled() for future in futures)
    model_server.drop_cancelled.assert_called_once()
