"""POST /predict and /predict/batch, of the default model and of each by its name.

The answers are written as plain objects, at once to JSON: to make and to validate the models in
`schemas.py`, which document them, takes longer than to read the request. A test holds the two
together.
"""

import asyncio
import base64
import functools
import io
from collections.abc import Sequence
from typing import Any

from fastapi import Depends
from PIL import Image
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from service import errors
from service.errors import (
    DeadlineExceededError,
    InvalidParameterError,
    MissingFieldError,
    NotReadyError,
    ServiceError,
)
from service.http import problems
from service.http.context import context_of
from service.http.openapi import describe
from service.http.parameters import (
    BatchQuery,
    DeadlineHeader,
    ModelName,
    ModelVersion,
    PredictQuery,
    read_headers,
    read_query,
)
from service.http.routes.classify import classify, named_model
from service.http.routing import Guard, PlainRoute
from service.http.schemas import BatchResponse, PredictResponse
from service.http.uploads import is_form, read_body, read_files
from service.inference.classification import Classification
from service.inference.model_server import ModelServer
from service.inference.snapshot import LoadedModel

DEFAULT_TOP_K = 5
# Why a picture has no answer, other than because of the picture.
_OURS = (NotReadyError, DeadlineExceededError)

_OF_MODEL = "/models/{model_name}"
_OF_VERSION = _OF_MODEL + "/versions/{model_version}"


async def predict(request: Request) -> Response:
    """Classifies one picture, sent as the body or as the field `file` of a form.

    The path names the model; `/predict` is the default model's.
    """
    query = read_query(request, PredictQuery)
    timeout_ms = read_headers(request, DeadlineHeader).timeout_ms
    model_server: ModelServer = request.app.state.model_server
    model = named_model(request)
    top_k, thresholds = _top_k(query, model), _thresholds(query, model)
    if is_form(request):
        max_fields = model_server.settings.max_form_fields
        (upload,) = await read_files(request, "file", max_files=1, max_fields=max_fields)
    else:
        upload = await read_body(request)
    (answer,) = await classify(request, model, [upload], timeout_ms)
    if isinstance(answer, Exception):
        raise answer
    document = _served(model) | _result(answer, top_k, thresholds)
    if query.include_input:
        document["input"] = await asyncio.to_thread(_data_url, answer)
    return _respond(document)


async def predict_batch(request: Request) -> Response:
    """Classifies the pictures in the field `files` of a form, which is repeated for each.

    The path names the model; `/predict/batch` is the default model's.
    """
    query = read_query(request, BatchQuery)
    timeout_ms = read_headers(request, DeadlineHeader).timeout_ms
    model_server: ModelServer = request.app.state.model_server
    model, limits = named_model(request), model_server.settings
    top_k, thresholds = _top_k(query, model), _thresholds(query, model)
    if not is_form(request):
        raise MissingFieldError(
            "Send a multipart form with the pictures in the field 'files', repeated for each."
        )
    uploads = await read_files(
        request, "files", max_files=limits.max_files, max_fields=limits.max_form_fields
    )
    answers = await classify(request, model, uploads, timeout_ms)
    if isinstance(answers[0], _OURS) and all(isinstance(answer, _OURS) for answer in answers):
        raise answers[0]  # for the client and for alerts no picture of it is answered
    results: list[dict[str, Any]] = []
    for answer in answers:
        if isinstance(answer, ServiceError):
            model_server.metrics.count_rejection(errors.reason(type(answer)), model.name)
            problem = problems.describe(answer, context_of(request.scope).request_id)
            results.append({"error": problem.model_dump()})
        elif isinstance(answer, Exception):
            raise answer
        else:
            results.append(_result(answer, top_k, thresholds))
    return _respond({**_served(model), "results": results})


def routes(guard: Guard) -> list[BaseRoute]:
    """The routes of both, behind a guard."""
    route = functools.partial(PlainRoute, guard=guard, headers=DeadlineHeader, tags=["predict"])
    one = functools.partial(
        route, endpoint=predict, query=PredictQuery, response_model=PredictResponse
    )
    several = functools.partial(
        route, endpoint=predict_batch, query=BatchQuery, response_model=BatchResponse
    )
    named, with_version = [Depends(_name)], [Depends(_name), Depends(_version)]
    return [
        one("/predict", **describe("predict")),
        several("/predict/batch", **describe("predict_batch")),
        one(f"{_OF_MODEL}/predict", dependencies=named, **describe("predict", names_model=True)),
        several(
            f"{_OF_MODEL}/predict/batch",
            dependencies=named,
            **describe("predict_batch", names_model=True),
        ),
        one(
            f"{_OF_VERSION}/predict",
            dependencies=with_version,
            **describe("predict", names_model=True),
        ),
        several(
            f"{_OF_VERSION}/predict/batch",
            dependencies=with_version,
            **describe("predict_batch", names_model=True),
        ),
    ]


async def _name(model_name: ModelName) -> None:
    """Documents the name, which `named_model` reads."""


async def _version(model_version: ModelVersion) -> None:
    """Documents the version, which `named_model` reads."""


def _top_k(query: BatchQuery, model: LoadedModel) -> int:
    classes = len(model.classifier.model.labels)
    if query.top_k is None:
        return min(DEFAULT_TOP_K, classes)
    if query.top_k > classes:
        raise InvalidParameterError(f"top_k: the model has {classes} classes; ask for no more.")
    return query.top_k


def _thresholds(query: BatchQuery, model: LoadedModel) -> Sequence[float] | None:
    coverage = query.coverage
    return None if coverage is None else model.classifier.model.thresholds(coverage)


def _served(model: LoadedModel) -> dict[str, Any]:
    return {"model": model.name, "version": str(model.version)}


def _result(
    answer: Classification, top_k: int, thresholds: Sequence[float] | None
) -> dict[str, Any]:
    facts = answer.image
    label_set = {} if thresholds is None else {"label_set": answer.label_set(thresholds)}
    return {
        "predictions": [
            # The same as `round(probability, 6)`, which would print and parse each number.
            {"label": label, "class_id": class_id, "probability": round(probability * 1e6) / 1e6}
            for label, class_id, probability in answer.top(top_k)
        ],
        "unfamiliar": answer.unfamiliar,
        "image": {"width": facts.width, "height": facts.height, "format": facts.format},
        **label_set,
    }


def _respond(document: dict[str, Any]) -> Response:
    return Response(to_json(document), media_type="application/json")


def _data_url(answer: Classification) -> str:
    png = io.BytesIO()
    Image.fromarray(answer.pixels).save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
