"""The Open Inference Protocol V2 under /v2."""

import functools
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from service.errors import NotReadyError
from service.http import tensors
from service.http.openapi import describe
from service.http.parameters import InferHeaders, ModelName, ModelVersion, read_headers
from service.http.routes.classify import classify, named_model
from service.http.routing import Guard, PlainRoute
from service.http.schemas_v2 import (
    InferenceResponse,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from service.http.uploads import read_body
from service.inference.classification import Classification
from service.inference.model_server import ModelServer
from service.inference.snapshot import LoadedModel
from service.v2 import model as descriptions
from service.v2.model import EXTENSIONS, ModelConfig, ModelMetadata, StatisticsResponse

TAG = "inference protocol"
_OF_MODEL = "/v2/models/{model_name}"
_OF_VERSION = _OF_MODEL + "/versions/{model_version}"


async def _named_model(request: Request, model_name: ModelName) -> LoadedModel:  # noqa: ARG001
    return named_model(request)


async def _named_version(model_version: ModelVersion) -> None:
    """Documents the version, which `_named_model` reads."""


Model = Annotated[LoadedModel, Depends(_named_model)]
NAME = Depends(_named_model)
VERSION = [Depends(_named_version)]

probes = APIRouter(prefix="/v2/health", tags=[TAG])
router = APIRouter(tags=[TAG])


@router.get("/v2", **describe("server_metadata"))
async def server_metadata(request: Request) -> ServerMetadata:
    """Names this server and the extensions that it has."""
    return ServerMetadata(
        name=request.app.title,
        version=request.app.version,
        extensions=EXTENSIONS,
    )


@probes.get("/live", **describe("server_live"))
async def server_live(request: Request) -> ServerLive:
    """Says that the process answers and can compute, whether or not it has a model."""
    model_server: ModelServer = request.app.state.model_server
    if model_server.fault:
        raise NotReadyError(model_server.fault)
    return ServerLive()


@probes.get("/ready", **describe("server_ready"))
async def server_ready(request: Request) -> ServerReady:
    """Says whether the service can answer now, by its default model."""
    model_server: ModelServer = request.app.state.model_server
    model_server.check_ready()
    return ServerReady(ready=True)


@router.get("/v2/models/stats", operation_id="v2_all_stats", **describe("all_statistics"))
async def all_statistics(request: Request) -> StatisticsResponse:
    """The statistics of all models that are served, of all workers together."""
    model_server: ModelServer = request.app.state.model_server
    snapshot = model_server.snapshot
    return await descriptions.model_statistics(model_server, snapshot.loaded if snapshot else [])


@router.get(_OF_MODEL, **describe("model_metadata"))
@router.get(_OF_VERSION, dependencies=VERSION, **describe("model_metadata"))
async def model_metadata(request: Request, model: Model) -> ModelMetadata:
    """Describes the tensors that the model takes and returns, and lists the versions of it."""
    return descriptions.model_metadata(model, _versions(request, model))


@router.get(f"{_OF_MODEL}/ready", **describe("model_ready"))
@router.get(f"{_OF_VERSION}/ready", dependencies=VERSION, **describe("model_ready"))
async def model_ready(request: Request, model: Model) -> ModelReady:
    """Says whether the model can answer now."""
    model_server: ModelServer = request.app.state.model_server
    model_server.check_ready(model.name, str(model.version))
    return ModelReady(name=model.name, ready=True)


@router.get(f"{_OF_MODEL}/config", **describe("model_config"))
@router.get(f"{_OF_VERSION}/config", dependencies=VERSION, **describe("model_config"))
async def configuration(request: Request, model: Model) -> ModelConfig:
    """How the model is served: tensors, largest batch, queue, threads."""
    model_server: ModelServer = request.app.state.model_server
    return descriptions.model_config(model, _versions(request, model), model_server.settings)


@router.get(f"{_OF_MODEL}/stats", **describe("model_statistics"))
@router.get(f"{_OF_VERSION}/stats", dependencies=VERSION, **describe("model_statistics"))
async def model_statistics(request: Request, model: Model) -> StatisticsResponse:
    """The statistics of the model's versions or of one of them, of all workers together."""
    model_server: ModelServer = request.app.state.model_server
    is_one = "model_version" in request.path_params
    models = [model] if is_one else descriptions.same_name(model_server, model)
    return await descriptions.model_statistics(model_server, models)


async def infer(request: Request) -> Response:
    """Computes the outputs for a batch of pictures: pixels of the model's size, or files."""
    model_server: ModelServer = request.app.state.model_server
    model = named_model(request)
    headers = read_headers(request, InferHeaders)
    is_json = headers.json_bytes is None
    body = await read_body(request, is_json=is_json, may_be_compressed=True)
    size = (model.classifier.engine.height, model.classifier.engine.width)
    wanted, binary = tensors.parse_request(body, headers.json_bytes, size)
    max_pictures = model_server.settings.max_files
    pictures = await tensors.read_pictures(wanted.inputs[0], binary, size, max_pictures)
    answers: list[Classification] = []
    for answer in await classify(request, model, pictures, headers.timeout_ms):
        if isinstance(answer, Exception):
            raise answer
        answers.append(answer)
    return tensors.respond(wanted, answers, model.name, str(model.version))


def routes(guard: Guard) -> list[BaseRoute]:
    """The routes that compute, behind a guard."""
    route = functools.partial(
        PlainRoute,
        endpoint=infer,
        guard=guard,
        headers=InferHeaders,
        tags=[TAG],
        response_model=InferenceResponse,
        **describe("infer"),
    )
    return [
        route(path=f"{_OF_MODEL}/infer", dependencies=[NAME]),
        route(path=f"{_OF_VERSION}/infer", dependencies=[NAME, *VERSION]),
    ]


def _versions(request: Request, model: LoadedModel) -> list[int]:
    return descriptions.versions(request.app.state.model_server, model)
