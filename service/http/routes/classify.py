"""Waits for the answers of a request, until its deadline or until the client disconnects."""

import asyncio
import math
import time
from collections.abc import Sequence

from starlette.requests import ClientDisconnect, Request

from service.errors import DeadlineExceededError
from service.http.context import context_of, note_model
from service.inference.classification import Classification
from service.inference.classifier import Upload
from service.inference.model_server import ModelServer
from service.inference.snapshot import LoadedModel


def named_model(request: Request) -> LoadedModel:
    """Finds the model that the path of a request names, by default the default model.

    Raises:
        NotServedError: there is no such model or version here.
        NotReadyError: it is not loaded, or nothing can be computed.
    """
    model_server: ModelServer = request.app.state.model_server
    named = request.path_params
    model = model_server.find(named.get("model_name"), named.get("model_version"))
    note_model(request.scope, model.served)
    return model


async def classify(
    request: Request, model: LoadedModel, uploads: Sequence[Upload], timeout_ms: int | None
) -> list[Classification | Exception]:
    """Classifies uploads, and cancels them when the client disconnects; counts the request.

    Args:
        request: the request.
        model: classifies them.
        uploads: the pictures.
        timeout_ms: the client's own limit in milliseconds, from the start of the request.

    Returns:
        For each upload, in order, its classification or the reason why it has none.

    Raises:
        DeadlineExceededError: the client's time was over before all uploads had arrived.
        QueueFullError: the queue cannot take them all.
        ClientDisconnect: the client has disconnected.
    """
    model_server: ModelServer = request.app.state.model_server
    context = context_of(request.scope)
    is_success = False
    try:
        answers = await _classify(request, model, uploads, timeout_ms)
        is_success = all(isinstance(answer, Classification) for answer in answers)
    finally:
        seconds = time.perf_counter() - context.started_at
        model_server.metrics.count_outcome(
            model.name, str(model.version), seconds, is_success=is_success
        )
    return answers


async def _classify(
    request: Request, model: LoadedModel, uploads: Sequence[Upload], timeout_ms: int | None
) -> list[Classification | Exception]:
    model_server: ModelServer = request.app.state.model_server
    context = context_of(request.scope)
    elapsed = time.perf_counter() - context.started_at
    model_server.metrics.observe_stage(model.name, "receive", elapsed)
    timeout_s = math.inf if timeout_ms is None else timeout_ms / 1000 - elapsed
    if timeout_s <= 0:
        raise DeadlineExceededError("The request took too long to arrive; allow it more time.")
    if context.disconnected:  # while a large upload was joined, say
        raise ClientDisconnect
    futures = model_server.submit(model, uploads, timeout_s)
    context.on_disconnect = lambda: _cancel(futures)  # `protocol` calls it at once
    try:
        answers = [await _outcome(future) for future in futures]
    except asyncio.CancelledError:
        _cancel(futures)
        model_server.drop_cancelled()
        if context.disconnected:
            raise ClientDisconnect from None
        raise
    context.answered_at = time.perf_counter()
    for answer in answers:
        if isinstance(answer, Classification):
            model_server.metrics.count_answer(model.name, answer.label, answer.unfamiliar)
    return answers


async def _outcome(future: "asyncio.Future[Classification]") -> Classification | Exception:
    try:
        return await future
    except Exception as error:
        return error


def _cancel(futures: "Sequence[asyncio.Future[Classification]]") -> None:
    for future in futures:
        future.cancel()
