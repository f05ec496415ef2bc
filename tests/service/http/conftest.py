"""Raw connections to the app around a fake engine, without sockets."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import uvicorn
from fastapi import FastAPI
from uvicorn.server import ServerState

from service.http.protocol import BoundedProtocol
from tests.service.conftest import running

KEEP_ALIVE_S = 300


class FakeTransport(asyncio.Transport):
    """A connection to a client that reads at once; keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 4000), "sockname": ("192.0.2.2", 8000)})
        self.writes: list[bytes] = []
        self.is_ended = False  # no answer can come any more
        self.lingered_s = 0.0  # between that and the close
        self._ended_at = math.inf
        self._protocol: asyncio.Protocol | None = None
        self._paused = False
        self._waiting: list[bytes] = []
        self._closing = False

    @property
    def received(self) -> bytes:
        """All that was written."""
        return b"".join(self.writes)

    def connect(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    def send(self, data: bytes) -> None:
        """Sends from the client's side, as far as the server reads."""
        self._waiting.append(data)
        self._deliver()

    def disconnect(self) -> None:
        """Ends the connection from the client's side."""
        self.abort()

    def stop_server(self) -> None:
        """Tells the protocol that the server stops."""
        assert isinstance(self._protocol, BoundedProtocol)
        self._protocol.shutdown()

    def pause_writing(self) -> None:
        """Reads no more, so that what is written stays on the server's side."""
        assert self._protocol
        self._protocol.pause_writing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_ended
        self.writes.append(bytes(data))

    def write_eof(self) -> None:
        assert not self.is_ended
        self.is_ended = True
        self._ended_at = asyncio.get_running_loop().time()

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self._closing:
            self._closing = self.is_ended = True
            self.lingered_s = max(0, asyncio.get_running_loop().time() - self._ended_at)
            assert self._protocol
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        while self._waiting and not self._paused and not self._closing:
            assert self._protocol
            self._protocol.data_received(self._waiting.pop(0))


Connect = Callable[[], FakeTransport]
Serve = Callable[..., AbstractAsyncContextManager[Connect]]


@pytest.fixture
def serve(make_app: Callable[..., FastAPI]) -> Serve:
    """Runs the app with the given settings behind the protocol; yields what opens connections."""

    @asynccontextmanager
    async def run(**settings: object) -> AsyncIterator[Connect]:
        app = make_app(**settings)
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        config.load()
        state = ServerState()
        opened: list[FakeTransport] = []

        def connect() -> FakeTransport:
            opened.append(FakeTransport())
            opened[-1].connect(BoundedProtocol(config=config, server_state=state, app_state={}))
            return opened[-1]

        async with running(app):
            yield connect
            for transport in opened:
                transport.disconnect()
            async with asyncio.timeout(10):
                await asyncio.gather(*state.tasks)

    return run
