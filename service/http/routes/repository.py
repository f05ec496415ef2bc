"""The model repository extension of the inference protocol: what there is, load, unload."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.errors import InvalidInferenceRequestError
from service.http.openapi import describe
from service.http.parameters import read_json
from service.http.routes.v2 import ModelName
from service.http.schemas_v2 import RepositoryIndexRequest, RepositoryModel, RepositoryRequest
from service.http.uploads import read_body
from service.inference import repository
from service.inference.model_server import ModelServer
from service.inference.served_model import Change
from service.inference.snapshot import Snapshot
from service.inference.snapshot_builder import check_name

Administer = Callable[[Change], Awaitable[str | None]]
Body = TypeVar("Body", RepositoryIndexRequest, RepositoryRequest)

router = APIRouter(prefix="/v2/repository", tags=["model repository"])


@router.post("/index", response_model_exclude_none=True, **describe("repository_index"))
async def index(request: Request) -> list[RepositoryModel]:
    """Lists all versions of all models, in the repository or served, and says which are served."""
    model_server: ModelServer = request.app.state.model_server
    wanted = await _read(request, RepositoryIndexRequest)
    snapshot = model_server.snapshot or Snapshot({}, model_server.settings.model)
    served = {(model.name, model.version) for model in snapshot.loaded}
    models = [RepositoryModel(name=n, version=str(v), state="READY") for n, v in served]
    if not wanted.ready:
        found = await asyncio.to_thread(repository.available, model_server.settings.models)
        others = {(name, version) for name, versions in found.items() for version in versions}
        models += [
            RepositoryModel(
                name=name,
                version=str(version),
                state="UNAVAILABLE",
                reason=snapshot.failures.get(name, "unloaded"),
            )
            for name, version in others - served
        ]
    return sorted(models, key=lambda model: (model.name, int(model.version)))


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
    model_server: ModelServer = request.app.state.model_server
    await asyncio.to_thread(check_name, model_server.settings, model_server.snapshot, model_name)
    return await _administer(request, Change(load=frozenset({model_name})))


@router.post(
    "/models/{model_name}/unload", response_class=Response, **describe("repository_unload")
)
async def unload(request: Request, model_name: ModelName) -> Response:
    """Serves the model no more, until it is loaded."""
    await _read(request, RepositoryRequest)
    model_server: ModelServer = request.app.state.model_server
    await asyncio.to_thread(check_name, model_server.settings, model_server.snapshot, model_name)
    return await _administer(request, Change(load=frozenset(), unload=frozenset({model_name})))


async def _administer(request: Request, change: Change) -> Response:
    administer: Administer = request.app.state.administer
    note = await administer(change)
    return JSONResponse({"note": note}) if note else Response()


async def _read(request: Request, model: type[Body]) -> Body:
    return read_json(await read_body(request, is_json=True) or b"{}", model)
