"""Load shedding: requests are refused early and cheaply while the queue is full."""

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import QueueFullError
from service.inference.model_server import ModelServer


class LoadSheddingMiddleware:
    """Refuses a request before its key is checked or its body is read.

    It stands in front of the routes that use the queue, and of no others.
    """

    def __init__(self, app: ASGIApp, model_server: ModelServer) -> None:
        """Wraps the app of a route."""
        self._app = app
        self._model_server = model_server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        named = scope["path_params"]
        if self._model_server.is_full(named.get("model_name"), named.get("model_version")):
            raise QueueFullError()
        await self._app(scope, receive, send)
