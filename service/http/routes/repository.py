"""The model repository extension of the inference protocol: index, load, unload."""

from typing import TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.errors import InvalidInferenceRequestError
from service.http.openapi import describe
from service.http.parameters import ModelName, read_json
from service.http.schemas_v2 import RepositoryIndexRequest, RepositoryRequest
from service.http.uploads import read_body
from service.v2 import repository
from service.v2.repository import RepositoryModel

Body = TypeVar("Body", RepositoryIndexRequest, RepositoryRequest)

router = APIRouter(prefix="/v2/repository", tags=["model repository"])


@router.post("/index", response_model_exclude_none=True, **describe("repository_index"))
async def index(request: Request) -> list[RepositoryModel]:
    """Lists all versions of all models, in the repository or served, and says which are served."""
    wanted = await _read(request, RepositoryIndexRequest)
    return await repository.index(request.app.state.model_server, ready=wanted.ready)


@router.post("/models/{model_name}/load", response_class=Response, **describe("repository_load"))
async def load(request: Request, model_name: ModelName) -> Response:
    """Loads the model from the repository, without a gap; if that fails, the old one still serves.

    Which version that is, the settings say: the newest, or the one that they name.
    """
    body = await _read(request, RepositoryRequest)
    if body.parameters:
        raise InvalidInferenceRequestError(
            "The repository is the only source of models: send no parameters."
        )
    state = request.app.state
    note = await repository.load(state.model_server, state.administer, model_name)
    return JSONResponse({"note": note}) if note else Response()


@router.post(
    "/models/{model_name}/unload", response_class=Response, **describe("repository_unload")
)
async def unload(request: Request, model_name: ModelName) -> Response:
    """Stops serving the model until it is loaded again."""
    await _read(request, RepositoryRequest)
    state = request.app.state
    await repository.unload(state.model_server, state.administer, model_name)
    return Response()


async def _read(request: Request, model: type[Body]) -> Body:
    return read_json(await read_body(request, is_json=True) or b"{}", model)
