"""Refusing pictures early and cheaply while there is no room for them, as plain ASGI."""

from types import SimpleNamespace

from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import QueueFullError
from service.http import problems
from service.inference.model_server import ModelServer

# The routes that ask for the queue, as the metrics name them.
_ROUTES = {
    compile_path(path)[0]: SimpleNamespace(path=path)
    for path in (
        "/predict",
        "/predict/batch",
        "/v2/models/{model_name}/infer",
        "/v2/models/{model_name}/versions/{model_version}/infer",
    )
}


class LoadShedding:
    """Refuses a request before its body is read and its route is sought, while the queue is full.

    Under overload most requests end here, so that they must cost a small part of an answer.
    """

    def __init__(self, app: ASGIApp, model_server: ModelServer) -> None:
        """Wraps an app."""
        self._app = app
        self._model_server = model_server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        model_server = self._model_server
        full = model_server.is_full and scope["type"] == "http"
        if full and (route := _find_route(scope["path"])):
            scope["route"] = route
            error = QueueFullError()
            model_server.metrics.count_rejection(problems.reason(error))
            problem = problems.describe(error, scope["state"]["request_id"])
            headers = {"Retry-After": str(model_server.retry_after_s())}
            await problems.respond(problem, scope["path"], headers)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _find_route(path: str) -> SimpleNamespace | None:
    return next((route for regex, route in _ROUTES.items() if regex.match(path)), None)
