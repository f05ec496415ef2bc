"""Waiting for answers, for as long as the client waits too."""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import Header, Request
from starlette.requests import ClientDisconnect

from service.errors import DeadlineExceededError
from service.inference.classifier import Classification, Classifier, Upload
from service.inference.model_server import ModelServer

TIMEOUT_HEADER = "X-Request-Timeout-Ms"

Timeout = Annotated[
    int | None,
    Header(
        alias=TIMEOUT_HEADER,
        ge=1,
        le=86_400_000,
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
    model_server: ModelServer = request.app.state.model_server
    state = request.scope["state"]
    state["model_version"] = classifier.model.version
    elapsed = time.perf_counter() - state["started_at"]
    model_server.metrics.observe_stage("receive", elapsed)
    timeout_s = math.inf if timeout_ms is None else timeout_ms / 1000 - elapsed
    if timeout_s <= 0:
        raise DeadlineExceededError("The request took too long to arrive; allow it more time.")
    futures = model_server.submit(classifier, uploads, timeout_s)
    client_disconnected = False

    def give_up() -> None:
        nonlocal client_disconnected
        client_disconnected = True
        _cancel(futures)

    state["on_disconnect"] = give_up  # for `protocol`, which knows at once
    try:
        answers = [await _outcome(future) for future in futures]
    except asyncio.CancelledError:
        _cancel(futures)
        model_server.drop_cancelled()
        if client_disconnected:
            raise ClientDisconnect from None
        raise
    state["answered_at"] = time.perf_counter()
    for answer in answers:
        if isinstance(answer, Classification):
            model_server.metrics.count_answer(answer.label, answer.unfamiliar)
    return answers


async def _outcome(future: "asyncio.Future[Classification]") -> Classification | Exception:
    try:
        return await future
    except Exception as error:
        return error


def _cancel(futures: "Sequence[asyncio.Future[Classification]]") -> None:
    for future in futures:
        future.cancel()
