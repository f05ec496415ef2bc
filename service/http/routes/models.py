"""GET /models: the served models and their cards."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic_core import from_json, to_json

from service.http.openapi import describe
from service.http.parameters import ModelName, ModelVersion
from service.http.routes.classify import named_model
from service.http.schemas import ModelDocument, Models, ModelState
from service.inference.model_server import ModelServer
from service.inference.snapshot import LoadedModel, Snapshot

router = APIRouter(prefix="/models", tags=["model"])


@router.get("", response_model_exclude_none=True, **describe("models"))
async def models(request: Request) -> Models:
    """Lists the models and versions that are served, and those that could not be loaded."""
    model_server: ModelServer = request.app.state.model_server
    snapshot = model_server.snapshot
    if snapshot is None:
        return Models(default=model_server.settings.model, models=[])
    return Models(default=snapshot.default, models=states(snapshot))


@router.get(
    "/{model_name}", operation_id="model", response_model=ModelDocument, **describe("model")
)
async def model(request: Request, model_name: ModelName) -> Response:  # noqa: ARG001
    """The version of a model that answers requests without a version, with its card."""
    return _document(request)


@router.get(
    "/{model_name}/versions/{model_version}",
    operation_id="model_version",
    response_model=ModelDocument,
    **describe("model"),
)
async def version(
    request: Request,
    model_name: ModelName,  # noqa: ARG001
    model_version: ModelVersion,  # noqa: ARG001
) -> Response:
    """One version of a model, with its card: its measured figures, its training, its data."""
    return _document(request)


def states(snapshot: Snapshot) -> list[ModelState]:
    """The state of each version of each model, the default model's first."""
    described = [_state(snapshot, model) for model in snapshot.loaded]
    for name in sorted(snapshot.failures.keys() - snapshot.models.keys()):
        described.append(ModelState(model=name, status="failed", reason=snapshot.failures[name]))
    described += [ModelState(model=name, status="unloaded") for name in sorted(snapshot.unloaded)]
    return sorted(described, key=lambda state: (state.model != snapshot.default, state.model))


def _state(snapshot: Snapshot, model: LoadedModel) -> ModelState:
    reason = snapshot.failures.get(model.name) or model.classifier.engine.degraded_reason
    status = "degraded" if reason else "ok"
    return ModelState(**model.served._asdict(), status=status, reason=reason)


def _document(request: Request) -> Response:
    model_server: ModelServer = request.app.state.model_server
    model = named_model(request)
    assert model_server.snapshot is not None, "it has the model"
    state = _state(model_server.snapshot, model).model_dump(exclude_none=True)
    versions, card = model_server.snapshot.versions(model.name), from_json(model.card.read())
    document: dict[str, Any] = {**state, "versions": versions, "card": card}
    # A card may hold figures that are no numbers, which are no JSON either.
    data = to_json(document, inf_nan_mode="null")
    headers = {"Cache-Control": "no-cache"}
    return Response(data, media_type="application/json", headers=headers)
