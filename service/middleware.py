"""What happens around every request, as plain ASGI."""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.errors import BodyTooLargeError
from service.metrics import Metrics

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Asked every few seconds by machines: logged at debug level only.
_PROBES = ("/health", "/metrics")

logger = logging.getLogger(__name__)


class RequestContext:
    """Gives each request an id, a log line and its metrics, and a mistake of ours a 500."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wraps an app."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            logger.exception("mistake", extra={"fields": {"request_id": request_id}})
            if status:
                raise  # too late for an answer: the server must break the connection
            response = problems.respond(problems.describe(error, request_id))
            await response(scope, receive, send_with_id)
        finally:
            self._record(scope, status, time.perf_counter() - start, request_id)

    def _record(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        level = logging.DEBUG if route.startswith(_PROBES) and status < 400 else logging.INFO
        if logger.isEnabledFor(level):
            fields = {
                "method": scope["method"],
                "path": scope["raw_path"].decode("latin-1"),
                "status": status,
                "duration_ms": round(seconds * 1000, 2),
                "request_id": request_id,
                "client": (scope.get("client") or ("unknown",))[0],
            }
            logger.log(level, "request", extra={"fields": fields})


class BodyLimit:
    """Stops reading a body at the limit, or before it where its length is stated."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        """Wraps an app."""
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = Headers(scope=scope).get("content-length", "")
        received = int(stated) if stated.isdigit() else 0
        counted = 0

        async def receive_limited() -> Message:
            nonlocal counted
            if received <= self._max_bytes:
                message = await receive()
                counted += len(message.get("body", b""))
                if counted <= self._max_bytes:
                    return message
            raise BodyTooLargeError(
                f"The request is over the limit of {self._max_bytes:,} bytes; send less at a time."
            )

        await self._app(scope, receive_limited, send)


def _request_id(scope: Scope) -> str:
    sent = Headers(scope=scope).get("x-request-id", "")
    return sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
