"""The model repository extension of the inference protocol: what there is, load, unload."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import APIRouter, Request, Response

from service.errors import InvalidInferenceRequestError, ModelNotFoundError, NotServedError
from service.http.openapi import describe
from service.http.parameters import read_json
from service.http.routes.v2 import ModelName
from service.http.schemas_v2 import RepositoryIndexRequest, RepositoryModel, RepositoryRequest
from service.http.uploads import read_body
from service.inference import repository
from service.inference.model_server import ModelServer
from service.inference.served_model import Administration

Administer = Callable[[Administration], Awaitable[None]]
Body = TypeVar("Body", RepositoryIndexRequest, RepositoryRequest)

router = APIRouter(prefix="/v2/repository", tags=["model repository"])


@router.post("/index", response_model_exclude_none=True, **describe("repository_index"))
async def index(request: Request) -> list[RepositoryModel]:
    """Lists all versions of all models in the repository, and says which one is served."""
    model_server: ModelServer = request.app.state.model_server
    wanted = await _read(request, RepositoryIndexRequest)
    served = model_server.served
    models = []
    try:
        folders = await asyncio.to_thread(repository.versions, model_server.settings.models)
    except ModelNotFoundError:
        folders = []
    for name, version in ((folder.parent.name, folder.name) for folder in folders):
        if served and (served.model, served.version) == (name, version):
            models.append(RepositoryModel(name=name, version=version, state="READY"))
        elif not wanted.ready:
            models.append(
                RepositoryModel(name=name, version=version, state="UNAVAILABLE", reason="unloaded")
            )
    return models


@router.post("/models/{model_name}/load", response_class=Response, **describe("repository_load"))
async def load(request: Request, model_name: ModelName) -> Response:
    """Serves the model as it is in the repository now, with no gap; the one before, if that fails.

    Which version that is, the settings say: the newest, or the one that they name.
    """
    body = await _read(request, RepositoryRequest)
    if body.parameters:
        raise InvalidInferenceRequestError(
            "The repository is the only source of models: send no parameters."
        )
    return await _administer(request, "load", model_name)


@router.post(
    "/models/{model_name}/unload", response_class=Response, **describe("repository_unload")
)
async def unload(request: Request, model_name: ModelName) -> Response:
    """Serves no model, until one is loaded."""
    await _read(request, RepositoryRequest)
    return await _administer(request, "unload", model_name)


async def _administer(request: Request, what: Administration, model_name: str) -> Response:
    model_server: ModelServer = request.app.state.model_server
    administer: Administer = request.app.state.administer
    if model_name != model_server.settings.model:
        raise NotServedError(
            f"This service serves only {model_server.settings.model!r}, not {model_name!r}."
        )
    await administer(what)
    return Response()


async def _read(request: Request, model: type[Body]) -> Body:
    return read_json(await read_body(request, is_json=True) or b"{}", model)
