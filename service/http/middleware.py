"""What happens around every request, as plain ASGI."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.access_log import AccessLog
from service.http.body_limit import Bodies


class RequestContext:
    """Gives each request an id, a log line and its metrics, and a mistake of ours a 500."""

    def __init__(self, app: ASGIApp, records: AccessLog) -> None:
        """Wraps an app."""
        self._app = app
        self._records = records

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        id_header = self._records.begin(scope)
        status = sent = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), id_header]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            response = self._records.answer_unhandled_error(scope)
            if status:
                raise  # too late for an answer: the server must break the connection
            await response(scope, receive, send_with_id)
        finally:
            self._records.end(scope, status, sent)


class BodyLimit:
    """Stops reading a body that is too large, too slow, or one too many."""

    def __init__(self, app: ASGIApp, bodies: Bodies) -> None:
        """Wraps an app."""
        self._app = app
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = self._bodies.begin(scope, receive)
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._bodies.end(scope, body)
