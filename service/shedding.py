"""Refusing pictures early and cheaply while there is no room for them, as plain ASGI."""

from types import SimpleNamespace

from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.errors import QueueFullError
from service.runtime import Runtime

# The routes, as the metrics name them; the others are refused by the queue itself.
_ROUTES = {path: SimpleNamespace(path=path) for path in ("/predict", "/predict/batch")}


class Shedding:
    """Refuses a request before its body is read and its route is sought, while the queue is full.

    Under overload most requests end here, so that they must cost a small part of an answer.
    """

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        """Wraps an app."""
        self._app = app
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        runtime = self._runtime
        if runtime.is_full and scope["type"] == "http" and scope["path"] in _ROUTES:
            scope["route"] = _ROUTES[scope["path"]]
            error = QueueFullError("Too many pictures are waiting; try again in a moment.")
            runtime.metrics.count_rejection(problems.reason(error))
            problem = problems.describe(error, scope["state"]["request_id"])
            headers = {"Retry-After": str(runtime.retry_after_s())}
            await problems.respond(problem, scope["path"], headers)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
