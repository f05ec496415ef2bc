"""Limits of the body, where a whole app would be too slow a test."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.admission.pending_bytes import PendingBytes
from service.errors import BodyTooLargeError, QueueFullError, SlowBodyError
from service.http import problems
from service.http.context import RequestContext
from service.http.middleware.body_limit import BodyLimitMiddleware

pytestmark = pytest.mark.anyio


def limited(app: ASGIApp, max_seconds: float = 60, pending_bytes: int = 0) -> BodyLimitMiddleware:
    pending = PendingBytes(1500)
    pending.count = pending_bytes
    return BodyLimitMiddleware(app, max_bytes=1000, pending=pending, max_seconds=max_seconds)


def scope(*headers: tuple[bytes, bytes]) -> Scope:
    context = RequestContext(dict(headers), "id", 0)
    return {"type": "http", "headers": list(headers), "state": {"context": context}}


async def read_all(_scope: Scope, receive: Receive, _send: Send) -> None:
    while (await receive()).get("more_body"):
        pass


async def wait_forever() -> Message:
    raise AssertionError


async def send_nothing(_message: Message) -> None:
    raise AssertionError


async def test_dribbled_body_is_408() -> None:
    async def dribble() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    app = limited(read_all, max_seconds=0.05)
    with pytest.raises(SlowBodyError, match=r"0\.05 s") as caught:
        await app(scope(), dribble, send_nothing)
    assert problems.describe(caught.value, "").status == 408


async def test_bytes_that_a_request_keeps_are_counted_until_its_end() -> None:
    kept: list[int] = []

    async def keep(scope: Scope, _receive: Receive, _send: Send) -> None:
        for size in (400, 300):
            scope["state"]["context"].hold(size)
        kept.append(middleware.pending.count)

    async def keep_too_many(scope: Scope, _receive: Receive, _send: Send) -> None:
        scope["state"]["context"].hold(1001)

    middleware = limited(keep, pending_bytes=800)
    await middleware(scope(), wait_forever, send_nothing)
    assert (kept, middleware.pending.count) == ([1500], 800)
    middleware.pending.count = 801
    with pytest.raises(QueueFullError):
        await middleware(scope(), wait_forever, send_nothing)
    assert middleware.pending.count == 801
    with pytest.raises(BodyTooLargeError):
        await limited(keep_too_many)(scope(), wait_forever, send_nothing)


async def test_bytes_are_counted_over_all_chunks() -> None:
    chunks: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"x" * 400, "more_body": True}] * 3
    )

    async def receive() -> Message:
        return next(chunks)

    app = limited(read_all)
    with pytest.raises(BodyTooLargeError):
        await app(scope(), receive, send_nothing)
    assert next(chunks, None) is None


async def test_wait_after_the_body_has_no_limit() -> None:
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"x"}, {"type": "http.disconnect"}]
    )

    async def receive() -> Message:
        message = next(messages)
        if message["type"] == "http.disconnect":
            await asyncio.sleep(0.1)
        return message

    async def read_and_wait(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"

    app = limited(read_and_wait, max_seconds=0.02)
    await app(scope(), receive, send_nothing)


class Sender:
    """A client that sends its body when it is told to, in one piece."""

    def __init__(self, size: int, stated: int | None = None) -> None:
        length = () if stated is None else ((b"content-length", str(stated).encode()),)
        self.scope = scope(*length)
        self.go = asyncio.Event()
        self._body = b"x" * size

    async def receive(self) -> Message:
        await self.go.wait()
        return {"type": "http.request", "body": self._body}


async def test_bytes_of_all_requests_under_way_are_bounded() -> None:
    answered = asyncio.Event()

    async def read_and_work(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        await answered.wait()

    app = limited(read_and_work)
    first, second = Sender(1000), Sender(1000)
    first.go.set()
    second.go.set()
    working = asyncio.create_task(app(first.scope, first.receive, send_nothing))
    await asyncio.sleep(0)
    with pytest.raises(QueueFullError):
        await app(second.scope, second.receive, send_nothing)
    answered.set()
    await working
    await app(second.scope, second.receive, send_nothing)


async def test_body_that_would_not_fit_is_refused_before_it_arrives() -> None:
    app = limited(read_all, pending_bytes=1000)
    with pytest.raises(QueueFullError):
        await asyncio.wait_for(app(Sender(0, 501).scope, Sender(0).receive, send_nothing), 5)


async def test_stated_length_alone_holds_nothing() -> None:
    app = limited(read_all)
    silent, small = Sender(1000, stated=1000), Sender(1000)
    small.go.set()
    waiting = asyncio.create_task(app(silent.scope, silent.receive, send_nothing))
    await asyncio.sleep(0)
    await app(small.scope, small.receive, send_nothing)
    silent.go.set()
    await waiting
