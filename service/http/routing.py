"""Plain routes for the most frequent requests, described in OpenAPI like all others."""

import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, params
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send


@dataclass(frozen=True)
class Guard:
    """The middleware of a plain route, outermost first, and as dependencies for OpenAPI."""

    middleware: Sequence[Middleware]
    dependencies: Sequence[params.Depends]


class PlainRoute(Route):
    """A plain Starlette route for POST that OpenAPI describes as it does those of FastAPI.

    It is for the most frequent requests: with a stub instead of the model, FastAPI's routes take
    113 us for a request, and these 42.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        guard: Guard,
        *,
        query: type[BaseModel] | None = None,
        headers: type[BaseModel],
        **description: Any,  # noqa: ANN401
    ) -> None:
        """Makes the route of an endpoint behind a guard.

        `query` and `headers` are models of what it reads of them, and `description` is what else
        OpenAPI says of it, as arguments of a route of FastAPI.
        """
        super().__init__(path, _Endpoint(endpoint), methods=["POST"], middleware=guard.middleware)

        async def with_headers(headers: Annotated[headers, Header()]) -> None: ...  # type: ignore[valid-type]

        async def with_query(
            query: Annotated[query, Query()],  # type: ignore[valid-type]
            headers: Annotated[headers, Header()],  # type: ignore[valid-type]
        ) -> None: ...

        dependencies = [*guard.dependencies, *description.pop("dependencies", ())]
        self._describe = functools.partial(
            APIRoute,
            path,
            with_query if query else with_headers,
            methods=["POST"],
            description=inspect.getdoc(endpoint),
            dependencies=dependencies,
            generate_unique_id_function=operation_id,
            **description,
        )

    @functools.cached_property
    def description(self) -> APIRoute:
        """The route of FastAPI that describes it; it takes a millisecond, and is rarely used."""
        return self._describe()

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
    words = re.sub(r"{[^}]*}", "", route.path_format)
    return "_".join(filter(None, re.split("[/:]", words)))
