"""GET /health, its two probes, and GET /metrics."""

import asyncio
import time

from fastapi import APIRouter, Request, Response

from service.admission.retry_after import DEFAULT_S
from service.http.openapi import describe
from service.http.routes.models import states
from service.http.schemas import Health, Live, ModelState
from service.inference.model_server import ModelServer
from service.inference.snapshot import Snapshot
from service.observability.metrics import CONTENT_TYPE

router = APIRouter(tags=["health"])
monitoring = APIRouter(tags=["health"])


@router.get("/health/ready", response_model_exclude_none=True, **describe("health"))
@router.get("/health", response_model_exclude_none=True, **describe("health"))
async def health(request: Request, response: Response) -> Health:
    """The state of the default model and its provider, and the states of all other models."""
    model_server: ModelServer = request.app.state.model_server
    if model_server.status not in ("ok", "degraded"):
        response.status_code = 503
        response.headers["Retry-After"] = str(DEFAULT_S)
    snapshot = model_server.snapshot
    default = snapshot.default if snapshot else model_server.settings.model
    served = next(iter(snapshot.models.get(default, ())), None) if snapshot else None
    return Health(
        status=model_server.status,
        uptime_s=round(time.monotonic() - model_server.started_at, 1),
        reason=model_server.reason,
        warning=model_server.warning,
        models=_others(snapshot) if snapshot else [],
        **(served.served._asdict() if served else {"model": default}),
    )


def _others(snapshot: Snapshot) -> list[ModelState]:
    """All models except the first version of the default model, which has its own fields."""
    first, *others = states(snapshot)
    return others if first.model == snapshot.default else [first, *others]


@router.get("/health/live", response_model_exclude_none=True, **describe("live"))
async def live(request: Request, response: Response) -> Live:
    """Says that the process answers and can compute, whether or not it has a model."""
    model_server: ModelServer = request.app.state.model_server
    if model_server.fault:
        response.status_code = 503
        return Live(status="failed", reason=model_server.fault)
    return Live()


@monitoring.get("/metrics", response_class=Response, **describe("metrics"))
async def metrics(request: Request) -> Response:
    """All metrics in the text format of Prometheus."""
    model_server: ModelServer = request.app.state.model_server
    model_server.sample()
    text = await asyncio.to_thread(model_server.metrics.render)
    return Response(text, media_type=CONTENT_TYPE)
