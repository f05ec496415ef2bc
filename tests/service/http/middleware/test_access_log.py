"""What the log and the metrics say of a request that nobody waits for any more."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
from fastapi import FastAPI
from starlette.types import Message, Scope

from tests.service.conftest import FakeEngine, colour, keep_busy, running

pytestmark = pytest.mark.anyio


async def test_request_whose_task_is_cancelled_is_one_whose_client_has_left(
    make_app: Callable[..., FastAPI], engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "service")
    app = make_app()
    async with running(app) as model_server:
        busy = await keep_busy(model_server, engine)
        answering = asyncio.create_task(post(app, colour("blue")))
        while model_server.queue_depth == 0:
            await asyncio.sleep(0.01)
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
        engine.go.set()
        await busy
    assert logged_statuses(caplog) == [499]
    assert engine.batches == [1]
    samples = {(name, labels.get("status")) for name, labels, _ in model_server.metrics.samples()}
    assert ("http_requests_total", "499") in samples


async def test_answer_that_has_begun_keeps_its_status(
    make_app: Callable[..., FastAPI], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "service")
    app, has_begun = make_app(), asyncio.Event()

    async def never_sent(message: Message) -> None:
        if message["type"] == "http.response.body":
            has_begun.set()
            await asyncio.Event().wait()

    async with running(app):
        answering = asyncio.create_task(post(app, colour("blue"), never_sent))
        await asyncio.wait_for(has_begun.wait(), 10)
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
    assert logged_statuses(caplog) == [200]


async def ignore(_message: Message) -> None:
    """Takes an answer."""


async def post(
    app: FastAPI, body: bytes, send: Callable[[Message], Awaitable[None]] = ignore
) -> None:
    """Runs the app for one request whose client waits."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "raw_path": b"/predict",
        "query_string": b"",
        "headers": [],
        "state": {},
    }
    await app(scope, receive, send)


def logged_statuses(caplog: pytest.LogCaptureFixture) -> list[int]:
    """The status of each line of the access log."""
    return [
        entry.__dict__["fields"]["status"] for entry in caplog.records if entry.message == "request"
    ]
