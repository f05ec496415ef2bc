"""Every message of `messages.py` is answered as it says, however its bytes are cut."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
import uvicorn
from fastapi import FastAPI
from uvicorn.server import ServerState

from service.http.protocol import BoundedProtocol
from tests.service.conftest import running
from tests.service.http.messages import MESSAGES, Message, agrees, read_answers

pytestmark = pytest.mark.anyio

MAX_HEAD_BYTES = 1000
# The longest that an answer may take.
PATIENCE_S = 1.0


class FakeTransport(asyncio.Transport):
    """A connection to a client that reads at once; keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 4000), "sockname": ("192.0.2.2", 8000)})
        self.received = b""
        self.is_ended = False  # no answer can come any more
        self._protocol: asyncio.Protocol | None = None
        self._paused = False
        self._waiting: list[bytes] = []
        self._closing = False

    def connect(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    def send(self, data: bytes) -> None:
        """Sends from the client's side, as far as the server reads."""
        self._waiting.append(data)
        self._deliver()

    def _deliver(self) -> None:
        while self._waiting and not self._paused and not self._closing:
            assert self._protocol
            self._protocol.data_received(self._waiting.pop(0))

    def disconnect(self) -> None:
        """Ends the connection from the client's side."""
        if not self._closing:
            self.abort()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_ended
        self.received += data

    def write_eof(self) -> None:
        self.is_ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self._closing:
            self._closing = self.is_ended = True
            assert self._protocol
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        asyncio.get_running_loop().call_soon(self._deliver)


Connect = Callable[[], FakeTransport]


@pytest.fixture
async def connect(make_app: Callable[..., FastAPI]) -> AsyncIterator[Connect]:
    """Opens connections to the app around a fake engine, as uvicorn does."""
    app = make_app(max_head_bytes=MAX_HEAD_BYTES, max_queue=10_000)
    config = uvicorn.Config(app, http=BoundedProtocol, log_config=None, access_log=False)
    config.load()
    state = ServerState()

    def open_connection() -> FakeTransport:
        transport = FakeTransport()
        transport.connect(BoundedProtocol(config=config, server_state=state, app_state={}))
        return transport

    async with running(app):
        yield open_connection
        # Whoever waits for a body that does not come is told that its client has left.
        await asyncio.gather(*state.tasks)


def cuts(sent: bytes) -> list[list[bytes]]:
    """The message whole, in two segments cut at each byte, and in segments of one byte."""
    halves = [[sent[:place], sent[place:]] for place in range(1, len(sent))]
    return [[sent], *halves, [sent[place : place + 1] for place in range(len(sent))]]


async def exchange(
    connections: Sequence[FakeTransport], segments: Sequence[list[bytes]], message: Message
) -> None:
    """Sends a message on many connections, on each of them in segments of its own.

    Before a second segment, what the first one asks for is answered.
    """
    size = len(read_answers(connections[0].received, message.answers))
    assert size == 0
    for transport, (first, *_) in zip(connections, segments, strict=True):
        transport.send(first)
    await settle(connections)
    for transport, (_, *rest) in zip(connections, segments, strict=True):
        for segment in rest:
            transport.send(segment)
            if len(rest) > 1:
                await asyncio.sleep(0)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not all(is_answered(transport, message) for transport in connections):
                await asyncio.sleep(0.005)
    except TimeoutError:
        pass  # the comparison shows what is missing
    await settle(connections)  # answers too many


async def settle(connections: Sequence[FakeTransport]) -> None:
    """Waits until no more is answered."""
    before = -1
    while before != (now := sum(len(transport.received) for transport in connections)):
        before = now
        await asyncio.sleep(0.01)


def is_answered(transport: FakeTransport, message: Message) -> bool:
    if message.closes:
        return transport.is_ended
    return len(read_answers(transport.received, message.answers)) >= len(message.answers)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.name)
async def test_answers_are_the_same_however_a_message_is_cut(
    connect: Connect, message: Message
) -> None:
    segments = cuts(message.sent)
    connections = [connect() for _ in segments]
    await exchange(connections, segments, message)
    for transport, pieces in zip(connections, segments, strict=True):
        answers = read_answers(transport.received, message.answers)
        statuses = [status for status, _ in answers]
        assert statuses == [status for status, _ in message.answers], (pieces, answers)
        assert all(map(agrees, answers, message.answers)), (pieces, answers)
        assert transport.is_ended == message.closes, pieces
        transport.disconnect()
