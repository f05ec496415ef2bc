"""Builds the app out of its parts."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, params
from fastapi.middleware import Middleware
from fastapi.middleware.cors import CORSMiddleware
from fastapi.telemetry import TelemetryConfig
from starlette.types import Message

from service import NAME, RELEASE
from service.admission.keys import Authenticator
from service.admission.pending_bytes import PendingBytes
from service.admission.retry_after import RetryAfter
from service.errors import LoadFailedError
from service.http import problems
from service.http.auth import DOCUMENTED, ApiKeyMiddleware, KeyDependencies
from service.http.middleware.access_log import PROBES, AccessLog, AccessLogMiddleware
from service.http.middleware.body_limit import BodyLimitMiddleware
from service.http.middleware.head_method import HeadMiddleware
from service.http.middleware.load_shedding import LoadSheddingMiddleware
from service.http.routes import health, models, page, predict, repository, v1, v2
from service.http.routing import Guard, build_openapi, operation_id
from service.inference.model_server import ModelServer
from service.observability.tracing import Tracing
from service.settings import Settings

logger = logging.getLogger(__name__)


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, built once."""
        if self.openapi_schema is None:
            self.openapi_schema = build_openapi(self)
        return self.openapi_schema


def create_app(
    settings: Settings,
    model_server: ModelServer,
    folder: Path | None = None,
    *,
    load: bool = True,
) -> FastAPI:
    """Builds the app; it starts and stops the model server with itself.

    Args:
        settings: the settings.
        model_server: classifies the pictures.
        folder: shared by all processes of the service; a rate limit needs it.
        load: whether to load the models at the start; otherwise another part of the process does.

    Returns:
        The app. In its `state` are `model_server`, `access_log`, `pending_bytes`, which other
        protocols of this process share, and `administer`, which changes the models: in this
        process, unless it is replaced.
    """
    access_log = AccessLog(model_server.metrics)
    authenticator = Authenticator(settings, folder)
    pending = PendingBytes(settings.pending_bytes_per_worker)

    guard = _guard(settings, authenticator)
    guarded = [*predict.routes(guard), *v2.routes(guard), *v1.routes(guard)]
    retry_after = RetryAfter(lambda: model_server.seconds_per_item)
    responder = problems.Responder(model_server.metrics, retry_after)
    load_shedding = Middleware(
        LoadSheddingMiddleware, model_server=model_server, responder=responder, routes=guarded
    )
    app = _App(
        title=NAME,
        version=RELEASE,
        summary="Send a picture, get the probability of each class.",
        # Starlette redirects to an absolute address, which leaves the prefix of a reverse proxy.
        redirect_slashes=False,
        lifespan=_lifespan(model_server, load),
        routes=guarded,
        middleware=_middleware(settings, access_log, load_shedding, pending),
        telemetry=_telemetry(model_server.tracing),
        generate_unique_id_function=operation_id,
        openapi_url=None,  # `page` serves it
        docs_url=None,
        redoc_url=None,
    )
    app.state.model_server = model_server
    app.state.administer = model_server.change
    app.state.access_log = access_log
    app.state.pending_bytes = pending
    problems.install(app, responder)
    _include_routers(app, settings, guard, authenticator)
    return app


def _include_routers(
    app: FastAPI, settings: Settings, guard: Guard, authenticator: Authenticator
) -> None:
    """Adds the other routes, each with the keys that it asks for."""
    keys = KeyDependencies(authenticator)
    key = [*DOCUMENTED, Depends(keys.require_key)] if settings.has_keys else []
    admin_key = [*DOCUMENTED, Depends(keys.require_admin_key)]
    app.include_router(v2.router, dependencies=guard.dependencies)
    app.include_router(v2.probes)
    app.include_router(v1.router, dependencies=guard.dependencies)
    app.include_router(repository.router, dependencies=admin_key)
    app.include_router(models.router, dependencies=key)
    app.include_router(health.router)
    app.include_router(health.monitoring, dependencies=[] if settings.metrics_open else key)
    app.include_router(page.router)
    page.mount_files(app)


def _lifespan(
    model_server: ModelServer, load: bool
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Starts and stops the model server; loads the models where `load` says so."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await _complete_routes(app)
        model_server.start()
        watching = asyncio.create_task(model_server.keep_watch())
        loading = asyncio.create_task(_load(model_server)) if load else None
        yield
        if loading:
            await loading
        await model_server.stop()
        watching.cancel()

    return lifespan


async def _complete_routes(app: FastAPI) -> None:
    """Routes a request to nowhere: FastAPI completes its routes then, for some 15 ms."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/-", "root_path": "", "headers": []}
    await app.router(scope, receive, send)


async def _load(model_server: ModelServer) -> None:
    try:
        await model_server.change()
    except LoadFailedError as error:
        logger.error("not loaded", extra={"fields": {"why": str(error)}})
    except Exception:
        logger.exception("unhandled error")


def _middleware(
    settings: Settings, access_log: AccessLog, load_shedding: Middleware, pending: PendingBytes
) -> list[Middleware]:
    """The middleware of all requests, outermost first."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=["Retry-After", "X-Request-ID"],
    )
    return [
        Middleware(AccessLogMiddleware, access_log=access_log),
        *([cors] if settings.cors_origins else []),
        load_shedding,
        Middleware(HeadMiddleware),
        Middleware(
            BodyLimitMiddleware,
            max_bytes=settings.max_body_bytes,
            pending=pending,
            max_seconds=settings.body_timeout_ms / 1000,
        ),
    ]


def _guard(settings: Settings, authenticator: Authenticator) -> Guard:
    """The middleware of the routes that use the queue, behind the router."""
    middleware: list[Middleware] = []
    dependencies: list[params.Depends] = []
    if settings.has_keys:
        middleware.append(Middleware(ApiKeyMiddleware, authenticator=authenticator))
        keys = KeyDependencies(authenticator)
        dependencies = [*DOCUMENTED, Depends(keys.require_and_count_key)]
    return Guard(middleware, dependencies)


def _telemetry(traces: Tracing | None) -> TelemetryConfig:
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
