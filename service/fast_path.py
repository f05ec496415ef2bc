"""The short way for ordinary requests to the two routes that carry the load, as plain ASGI.

For each request FastAPI finds the route, solves dependencies, validates parameters and stacks
contexts, which takes longer than all that the service does for a small picture outside of the
model. A request without parameters needs none of it.
"""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace

from fastapi import Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.auth import Doors, read_key
from service.errors import ServiceError
from service.routes.predict import predict, predict_batch
from service.routes.waiting import TIMEOUT_HEADER

_ENDPOINTS: dict[str, Callable[[Request], Awaitable[Response]]] = {
    "/predict": predict,
    "/predict/batch": predict_batch,
}
# As the metrics name them.
_ROUTES = {path: SimpleNamespace(path=path) for path in _ENDPOINTS}
_TIMEOUT = TIMEOUT_HEADER.lower().encode()


class FastPath:
    """Calls the endpoint of an ordinary request itself, and leaves all others to the app."""

    def __init__(self, app: ASGIApp, doors: Doors, *, locked: bool) -> None:
        """Wraps an app.

        Args:
            app: the app.
            doors: what opens the routes.
            locked: whether they need a key.
        """
        self._app = app
        self._doors = doors
        self._locked = locked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if not _is_ordinary(scope):
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        scope["route"] = _ROUTES[path]
        request = Request(scope, receive)
        try:
            if self._locked:
                self._doors.count(await read_key(request))
            response = await _ENDPOINTS[path](request)
        except ServiceError as error:
            response = await problems.on_service_error(request, error)
        except ClientDisconnect as error:
            response = await problems.on_disconnect(request, error)
        await response(scope, receive, send)


def _is_ordinary(scope: Scope) -> bool:
    """Whether a request is one for an endpoint with all its parameters left out."""
    return (
        scope["type"] == "http"
        and scope["path"] in _ENDPOINTS
        and scope["method"] == "POST"
        and not scope["query_string"]
        and not any(name == _TIMEOUT for name, _ in scope["headers"])
    )
