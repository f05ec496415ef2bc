"""The V1 protocol of TensorFlow Serving and KServe under /v1, for clients that send only JSON."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from pydantic_core import to_json
from starlette.responses import Response
from starlette.routing import BaseRoute

from service.errors import EmptyUploadError, InvalidInferenceRequestError, TooManyFilesError
from service.http import base64_pictures
from service.http.openapi import describe
from service.http.parameters import DeadlineHeader, read_headers, read_json
from service.http.routes.classify import classify, named_model
from service.http.routes.v2 import NAME, VERSION, Model
from service.http.routing import Guard, PlainRoute
from service.http.schemas_v1 import (
    InstancesRequest,
    InstancesResponse,
    ModelList,
    ModelStatus,
    VersionStatus,
)
from service.http.tensors import flatten
from service.http.uploads import read_body
from service.inference.classification import Classification
from service.inference.classifier import Upload
from service.inference.model_server import ModelServer

TAG = "V1 protocol"
_OF_MODEL = "/v1/models/{model_name}"
_OF_VERSION = _OF_MODEL + "/versions/{model_version}"

router = APIRouter(tags=[TAG])


@router.get("/v1/models", operation_id="v1_all_models", **describe("v1_models"))
async def models(request: Request) -> ModelList:
    """Names the models that are served."""
    model_server: ModelServer = request.app.state.model_server
    snapshot = model_server.snapshot
    return ModelList(models=sorted(snapshot.models) if snapshot else [])


@router.get(_OF_MODEL, **describe("v1_model"))
@router.get(_OF_VERSION, dependencies=VERSION, **describe("v1_model"))
async def model_status(request: Request, model: Model) -> ModelStatus:
    """Says whether the model can answer now."""
    model_server: ModelServer = request.app.state.model_server
    model_server.check_ready(model.name, str(model.version))
    status = VersionStatus(version=str(model.version))
    return ModelStatus(name=model.name, model_version_status=[status])


async def predict(request: Request) -> Response:
    """Classifies pictures: files in base64, or the pixels of pictures of the model's size."""
    model_server: ModelServer = request.app.state.model_server
    model = named_model(request)
    timeout_ms = read_headers(request, DeadlineHeader).timeout_ms
    body = await read_body(request, is_json=True, may_be_compressed=True)
    if not body:
        raise EmptyUploadError("The request is empty; send instances.")
    instances = read_json(body, InstancesRequest).instances
    if len(instances) > (most := model_server.settings.max_files):
        raise TooManyFilesError(
            f"There are more instances than allowed ({most}); send fewer at a time."
        )
    size = (model.classifier.engine.height, model.classifier.engine.width)
    uploads = await _read_pictures(instances, size)
    predictions: list[dict[str, Any]] = []
    for answer in await classify(request, model, uploads, timeout_ms):
        if isinstance(answer, Exception):
            raise answer
        predictions.append(_prediction(answer))
    return Response(to_json({"predictions": predictions}), media_type="application/json")


def routes(guard: Guard) -> list[BaseRoute]:
    """The routes that compute, behind a guard."""
    route = functools.partial(
        PlainRoute,
        endpoint=predict,
        guard=guard,
        headers=DeadlineHeader,
        tags=[TAG],
        response_model=InstancesResponse,
        **describe("v1_predict"),
    )
    return [
        route(path=f"{_OF_MODEL}:predict", dependencies=[NAME]),
        route(path=f"{_OF_VERSION}:predict", dependencies=[NAME, *VERSION]),
    ]


async def _read_pictures(instances: Sequence[object], size: tuple[int, int]) -> list[Upload]:
    values = [_value(instance) for instance in instances]
    texts = [value for value in values if isinstance(value, str)]
    files = iter(await base64_pictures.decode(texts))
    return [next(files) if isinstance(value, str) else _pixels(value, size) for value in values]


def _value(instance: object) -> str | list[Any]:
    """The base64 or the pixels of one instance, which may be named as the model's input is."""
    if isinstance(instance, dict) and instance.keys() == {"image"}:
        instance = instance["image"]
    if isinstance(instance, dict) and instance.keys() == {"b64"}:
        instance = instance["b64"]
        if isinstance(instance, str):
            return instance
    elif isinstance(instance, list):
        return instance
    raise InvalidInferenceRequestError(
        'An instance is {"b64": "<picture in base64>"} or the pixels of a picture as nested '
        'lists; either may be the value of "image".'
    )


def _pixels(rows: list[Any], size: tuple[int, int]) -> Upload:
    shape = (*size, 3)
    values = flatten(rows, shape) if len(rows) == size[0] else b""
    if len(values) != size[0] * size[1] * 3:
        raise InvalidInferenceRequestError(
            f"An instance of pixels has {size[0]} rows of {size[1]} pixels of 3 values from 0 to "
            "255; send other pictures in base64."
        )
    return np.frombuffer(values, np.uint8).reshape(shape)


def _prediction(answer: Classification) -> dict[str, Any]:
    return {
        "label": answer.label,
        "class_id": answer.ranking[0],
        "probabilities": answer.probabilities.tolist(),
        "energy": answer.energy,
        "unfamiliar": answer.unfamiliar,
    }
