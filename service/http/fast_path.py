"""The short way for ordinary requests to the two routes that carry the load, as plain ASGI.

For each request FastAPI finds the route, solves dependencies, validates parameters and stacks
contexts, which takes longer than all that the service does for a small picture outside of the
model. A request without parameters needs none of it.
"""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from service.errors import ServiceError
from service.http import problems
from service.http.access_log import AccessLog
from service.http.auth import Authenticator, read_key
from service.http.body_limit import Bodies
from service.http.routes.predict import predict, predict_batch
from service.http.routes.waiting import TIMEOUT_HEADER
from service.inference.model_server import ModelServer
from service.settings import Settings

_ENDPOINTS: dict[str, Callable[[Request], Awaitable[Response]]] = {
    "/predict": predict,
    "/predict/batch": predict_batch,
}
# As the metrics name them.
_ROUTES = {path: SimpleNamespace(path=path) for path in _ENDPOINTS}


class FastPath:
    """Answers ordinary requests in place of the app, and does what all its layers would do."""

    def __init__(
        self,
        app: FastAPI,
        settings: Settings,
        records: AccessLog,
        bodies: Bodies,
        authenticator: Authenticator,
    ) -> None:
        """Shares all with an app."""
        self._app = app
        self._model_server: ModelServer = app.state.model_server
        self._records = records
        self._bodies = bodies
        self._authenticator = authenticator
        self._locked = settings.has_keys
        self._extraordinary = {TIMEOUT_HEADER.lower().encode()}
        if settings.cors_origins:
            self._extraordinary.add(b"origin")

    def takes(self, scope: Scope) -> bool:
        """Whether a request is for one of its endpoints, with all parameters left out."""
        return (
            scope["type"] == "http"
            and scope["path"] in _ENDPOINTS
            and scope["method"] == "POST"
            and not scope["query_string"]
            and self._extraordinary.isdisjoint([name for name, _ in scope["headers"]])
            and not self._model_server.is_full
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request that it takes."""
        scope["app"] = self._app
        id_header = self._records.begin(scope)
        body = self._bodies.begin(scope, receive)
        status = sent = 0
        try:
            response = await self._respond(Request(scope, body.receive))
            response.raw_headers.append(id_header)
            status, sent = response.status_code, len(response.body)
            await response(scope, receive, send)
        finally:
            self._bodies.end(scope, body)
            # The answer leaves when this turn of the event loop ends.
            body.loop.call_soon(self._records.end, scope, status, sent)

    async def _respond(self, request: Request) -> Response:
        path = request.scope["path"]
        request.scope["route"] = _ROUTES[path]
        try:
            try:
                if self._locked:
                    self._authenticator.count(await read_key(request))
                return await _ENDPOINTS[path](request)
            except ServiceError as error:
                return await problems.on_service_error(request, error)
            except ClientDisconnect as error:
                return await problems.on_disconnect(request, error)
        except Exception:
            return self._records.answer_unhandled_error(request.scope)
