"""Limits of the body, where a whole app would be too slow a test."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.types import Message, Receive, Scope, Send

from service import problems
from service.errors import BodyTooLargeError, SlowBodyError
from service.middleware import BodyLimit

pytestmark = pytest.mark.anyio


async def read_all(_scope: Scope, receive: Receive, _send: Send) -> None:
    while (await receive()).get("more_body"):
        pass


async def send_nothing(_message: Message) -> None:
    raise AssertionError


async def test_dribbled_body_is_408() -> None:
    async def dribble() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    app = BodyLimit(read_all, max_bytes=1000, max_seconds=0.05)
    with pytest.raises(SlowBodyError, match=r"0\.05 s") as caught:
        await app({"type": "http", "headers": []}, dribble, send_nothing)
    assert problems.describe(caught.value, "").status == 408


async def test_bytes_are_counted_over_all_chunks() -> None:
    chunks: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"x" * 400, "more_body": True}] * 3
    )

    async def receive() -> Message:
        return next(chunks)

    app = BodyLimit(read_all, max_bytes=1000)
    with pytest.raises(BodyTooLargeError):
        await app({"type": "http", "headers": []}, receive, send_nothing)
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

    app = BodyLimit(read_and_wait, max_bytes=1000, max_seconds=0.02)
    await app({"type": "http", "headers": []}, receive, send_nothing)
