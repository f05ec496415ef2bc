"""Builds the app out of its parts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.middleware import Middleware
from fastapi.middleware.cors import CORSMiddleware
from fastapi.telemetry import TelemetryConfig
from starlette.types import Receive, Scope, Send

from service.http import openapi, problems
from service.http.access_log import PROBES, AccessLog
from service.http.auth import Authenticator, count_request, require_key
from service.http.body_limit import Bodies
from service.http.fast_path import FastPath
from service.http.load_shedding import LoadShedding
from service.http.middleware import BodyLimit, RequestContext
from service.http.routes import health, models, page, predict, repository, v2
from service.inference.model_server import Load, ModelServer, load_classifier
from service.observability import tracing
from service.observability.metrics import Metrics
from service.settings import Settings


class _App(FastAPI):
    """FastAPI with a way around it."""

    fast_path: FastPath | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if self.fast_path and self.fast_path.takes(scope):
            await self.fast_path(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(
    settings: Settings, load: Load = load_classifier, folder: Path | None = None
) -> FastAPI:
    """Builds the app; it loads the model while it starts.

    Args:
        settings: the settings.
        load: what loads the classifier.
        folder: a folder of all processes of the service, which a rate limit needs.

    Returns:
        The app, with its `ModelServer` in `app.state.model_server`, and in `app.state.administer`
        what changes the model: in this process, unless one puts something else there.
    """
    traces = tracing.start()
    metrics = Metrics(on_stage=traces.trace_stage if traces else None)
    model_server = ModelServer(settings, metrics, load, traces)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(model_server.start())
        watching = asyncio.create_task(model_server.keep_watch())
        yield
        await loading
        await model_server.stop()
        watching.cancel()
        if traces:
            await asyncio.to_thread(traces.close)

    records = AccessLog(metrics)
    middleware = [Middleware(RequestContext, records=records)]
    if settings.cors_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=["Retry-After", "X-Request-ID"],
            )
        )
    middleware.append(Middleware(LoadShedding, model_server=model_server))
    bodies = Bodies(
        max_bytes=settings.max_body_bytes,
        max_pending_bytes=settings.pending_bytes_per_worker,
        max_seconds=settings.body_timeout_ms / 1000,
    )
    middleware.append(Middleware(BodyLimit, bodies=bodies))
    app = _App(
        title="cifar10-serve",
        version="1",
        summary="Send a picture, get the probability of each class.",
        lifespan=lifespan,
        middleware=middleware,
        telemetry=_trace_with(traces),
        generate_unique_id_function=openapi.operation_id,
        docs_url=None,
        redoc_url=None,
    )
    app.state.model_server = model_server
    app.state.administer = model_server.administer
    app.state.authenticator = authenticator = Authenticator(settings, folder)
    if traces is None:  # it is FastAPI that makes the spans
        app.fast_path = FastPath(app, settings, records, bodies, authenticator)
    problems.install(app)
    locked = [Depends(require_key)] if settings.has_keys else []
    counted = [Depends(count_request)] if settings.rate_limit else locked
    app.include_router(predict.router, dependencies=counted)
    app.include_router(v2.router, dependencies=counted)
    app.include_router(v2.probes)
    app.include_router(repository.router)
    app.include_router(models.router, dependencies=locked)
    app.include_router(health.router)
    app.include_router(health.monitoring, dependencies=[] if settings.metrics_open else locked)
    app.include_router(page.router)
    page.mount_files(app)
    return app


def _trace_with(traces: tracing.Tracing | None) -> TelemetryConfig:
    """Lets FastAPI make the spans of requests, other than probes, and nothing else."""
    return {
        "tracing": traces is not None,
        "tracer_provider": traces.provider if traces else None,
        "exclude": lambda scope: scope["path"].startswith(PROBES),
        "operation_spans": False,
        "metrics": False,
        "logs": False,
        "auto_configure": False,
    }
