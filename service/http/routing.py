"""Plain routes for the requests that carry the load, described in OpenAPI like all others."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, params
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from service.http.openapi import Operation


@dataclass(frozen=True)
class Guard:
    """What stands in front of a plain route.

    Attributes:
        middleware: what a request passes, the first one first.
        dependencies: the same as dependencies of FastAPI, for OpenAPI.
    """

    middleware: Sequence[Middleware]
    dependencies: Sequence[params.Depends]


class PlainRoute(Route):
    """A plain Starlette route for POST that OpenAPI describes as it does those of FastAPI.

    It is for the routes that carry the load: around a stub in place of the model, FastAPI's own
    take 113 us for a request, and these 42.

    Attributes:
        description: the route of FastAPI that describes it.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        signature: Callable[..., Awaitable[None]],
        guard: Guard,
        answer: type[BaseModel],
        tag: str,
        operation: Operation,
    ) -> None:
        """Makes the route.

        Args:
            path: its path.
            endpoint: answers the requests.
            signature: takes the parameters of the route, as an endpoint of FastAPI would; it and
                what follows describe the route.
            guard: stands in front of it.
            answer: model of the answer.
            tag: tag of the operation.
            operation: see `openapi.describe`.
        """
        app = _Endpoint(endpoint)
        super().__init__(path, app, methods=["POST"], middleware=guard.middleware)
        self.description = APIRoute(
            path,
            signature,
            methods=["POST"],
            response_model=answer,
            description=inspect.getdoc(endpoint),
            tags=[tag],
            dependencies=guard.dependencies,
            generate_unique_id_function=operation_id,
            **operation,
        )

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Notes the route in the scope, as those of FastAPI do; the metrics are by route."""
        match, child_scope = super().matches(scope)
        return match, {**child_scope, "route": self} if match != Match.NONE else child_scope


class _Endpoint:
    """An endpoint as an ASGI app.

    Starlette's own wrapper handles exceptions, which the app does once more around all routes.
    """

    def __init__(self, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


def build_openapi(app: FastAPI) -> dict[str, Any]:
    """Builds the OpenAPI document of an app."""
    routes = [route.description if isinstance(route, PlainRoute) else route for route in app.routes]
    return get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        routes=routes,
        # Relative to openapi.json, so that it holds behind any prefix of a reverse proxy.
        servers=[{"url": ".", "description": "This service"}],
    )


def operation_id(route: APIRoute) -> str:
    """Names an operation after its path, such as `predict_batch`, as generated clients do."""
    parts = route.path_format.strip("/").split("/")
    return "_".join(part for part in parts if not part.startswith("{"))
