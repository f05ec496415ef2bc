"""Waiting for answers, for as long as the client waits too."""

import asyncio
import time
from collections.abc import Sequence

from fastapi import Request
from starlette.requests import ClientDisconnect

from service.classifier import Classification, Upload
from service.runtime import Runtime


async def classify(
    request: Request, runtime: Runtime, uploads: Sequence[Upload]
) -> list[Classification | Exception]:
    """Classifies uploads, and gives them up when the client has left.

    Returns:
        For each upload, in order, its classification or the reason why it has none.

    Raises:
        QueueFullError: the queue cannot take them all.
        ClientDisconnect: the client has left.
    """
    received_at = time.perf_counter()
    runtime.metrics.observe_stage("receive", received_at - request.state.started_at)
    futures = runtime.submit(uploads)
    watcher = asyncio.create_task(_cancel_on_disconnect(request, futures))
    try:
        answers = await asyncio.gather(*futures, return_exceptions=True)
    finally:
        watcher.cancel()
    request.state.answered_at = time.perf_counter()
    kept: list[Classification | Exception] = []
    for answer in answers:
        if isinstance(answer, asyncio.CancelledError):
            raise ClientDisconnect
        assert isinstance(answer, Classification | Exception)
        if isinstance(answer, Classification):
            runtime.metrics.count_answer(answer.top(1)[0].label, answer.unfamiliar)
        kept.append(answer)
    return kept


async def _cancel_on_disconnect(
    request: Request, futures: "Sequence[asyncio.Future[Classification]]"
) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    for future in futures:
        future.cancel()
