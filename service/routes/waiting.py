"""Waiting for answers, for as long as the client waits too."""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import Header, Request
from starlette.requests import ClientDisconnect

from service.classifier import Classification, Classifier, Upload
from service.errors import DeadlineExceededError
from service.runtime import Runtime

Timeout = Annotated[
    int | None,
    Header(
        alias="X-Request-Timeout-Ms",
        ge=1,
        description="Give up when so many milliseconds have passed since the request began to "
        "arrive; the service has a limit of its own.",
    ),
]


async def classify(
    request: Request, classifier: Classifier, uploads: Sequence[Upload], timeout_ms: int | None
) -> list[Classification | Exception]:
    """Classifies uploads, and gives them up when the client has left.

    Args:
        request: the request.
        classifier: what is to classify them.
        uploads: the pictures.
        timeout_ms: how long the client waits for its answer, from the start of the request.

    Returns:
        For each upload, in order, its classification or the reason why it has none.

    Raises:
        DeadlineExceededError: the client's time was over before all had arrived.
        QueueFullError: the queue cannot take them all.
        ClientDisconnect: the client has left.
    """
    runtime: Runtime = request.app.state.runtime
    request.state.model_version = classifier.model.version
    received_at = time.perf_counter()
    elapsed = received_at - request.state.started_at
    runtime.metrics.observe_stage("receive", elapsed)
    patience = math.inf if timeout_ms is None else timeout_ms / 1000 - elapsed
    if patience <= 0:
        raise DeadlineExceededError("The request took too long to arrive; allow it more time.")
    futures = runtime.submit(classifier, uploads, patience)
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
