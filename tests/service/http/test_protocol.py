"""Our protocol in uvicorn, around a fake engine; what it bounds is in tests/e2e."""

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvicorn
from fastapi import FastAPI

from service.http.protocol import BoundedProtocol
from service.inference.model_server import ModelServer
from tests.service.conftest import FakeEngine, colour, keep_busy

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("size", [100, 200_000], ids=["small", "large"])
async def test_client_who_leaves_is_noticed_at_once(
    make_app: Callable[..., FastAPI], engine: FakeEngine, size: int
) -> None:
    app = make_app()
    model_server: ModelServer = app.state.model_server
    server = uvicorn.Server(uvicorn.Config(app, http=BoundedProtocol, log_config=None, port=0))
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([listener]))
    while model_server.served is None:
        await asyncio.sleep(0.01)
    busy = await keep_busy(model_server, engine)
    body = colour("blue").ljust(size)
    _, writer = await asyncio.open_connection(*listener.getsockname())
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % len(body) + body)
    while not model_server.queue_depth:
        await asyncio.sleep(0.01)
    writer.close()
    async with asyncio.timeout(10):
        while model_server.queue_depth:
            await asyncio.sleep(0.01)
    engine.go.set()
    await busy
    server.should_exit = True
    await serving
    assert engine.batches == [1]
