"""Builds the app out of its parts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware import Middleware
from fastapi.middleware.cors import CORSMiddleware

from service import openapi, problems
from service.auth import Doors
from service.config import Settings
from service.metrics import Metrics
from service.middleware import BodyLimit, RequestContext
from service.routes import health, inference_protocol, page, predict
from service.runtime import Load, Runtime, load_classifier


def create_app(settings: Settings, load: Load = load_classifier) -> FastAPI:
    """Builds the app; it loads the model while it starts.

    Args:
        settings: the settings.
        load: what loads the classifier.

    Returns:
        The app, with its `Runtime` in `app.state.runtime`.
    """
    metrics = Metrics()
    runtime = Runtime(settings, metrics, load)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(runtime.start())
        sampling = asyncio.create_task(runtime.keep_sampling())
        yield
        await loading
        await runtime.stop()
        sampling.cancel()

    middleware = [Middleware(RequestContext, metrics=metrics)]
    if settings.cors_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=["X-Request-ID"],
            )
        )
    middleware.append(Middleware(BodyLimit, max_bytes=settings.max_body_bytes))

    app = FastAPI(
        title="cifar10-serve",
        version="1",
        summary="Send a picture, get the probability of each class.",
        lifespan=lifespan,
        middleware=middleware,
        generate_unique_id_function=openapi.operation_id,
        docs_url=None,
        redoc_url=None,
    )
    app.state.runtime = runtime
    app.state.doors = Doors(settings)
    problems.install(app)
    app.include_router(predict.router)
    app.include_router(inference_protocol.router)
    app.include_router(health.router)
    app.include_router(page.router)
    page.mount_files(app)
    return app
