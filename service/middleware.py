"""What happens around every request, as plain ASGI."""

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.errors import BodyTooLargeError, QueueFullError, SlowBodyError
from service.metrics import Metrics

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
# Asked every few seconds by machines: logged at debug level only.
PROBES = ("/health", "/v2/health", "/metrics")

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
        scope.setdefault("state", {}).update(request_id=request_id, started_at=start)
        status = sent = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            logger.exception("mistake", extra={"fields": {"request_id": request_id}})
            if status:
                raise  # too late for an answer: the server must break the connection
            response = problems.respond(problems.describe(error, request_id), scope["path"])
            await response(scope, receive, send_with_id)
        finally:
            self._record(scope, status, sent)

    def _record(self, scope: Scope, status: int, sent: int) -> None:
        state, now = scope["state"], time.perf_counter()
        seconds = now - state["started_at"]
        # Below a mount there is no route, only the mount's own path.
        route: str = getattr(scope.get("route"), "path", scope.get("root_path")) or "unmatched"
        self._metrics.count_request(route, status, seconds)
        if "answered_at" in state:
            self._metrics.observe_stage("respond", now - state["answered_at"])
        level = logging.DEBUG if route.startswith(PROBES) and status < 400 else logging.INFO
        if logger.isEnabledFor(level):
            fields = {
                "method": scope["method"],
                "path": scope["raw_path"][:200].decode("latin-1"),
                "status": status,
                "duration_ms": round(seconds * 1000, 2),
                "received_bytes": state.get("received_bytes", 0),
                "sent_bytes": sent,
                "model_version": state.get("model_version"),
                "request_id": state["request_id"],
                "trace_id": _trace_id(scope),
                "client": (scope.get("client") or ("unknown",))[0],
            }
            known = {name: value for name, value in fields.items() if value is not None}
            logger.log(level, "request", extra={"fields": known})


class BodyLimit:
    """Stops reading a body that is too large, too slow, or one too many.

    What is too large is refused at once where its length is stated. Only bytes that have arrived
    count as pending: a stated length holds nothing that others need.
    """

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, max_pending_bytes: int, max_seconds: float
    ) -> None:
        """Wraps an app.

        Args:
            app: the app.
            max_bytes: largest body.
            max_pending_bytes: most bytes of all requests that are not answered yet.
            max_seconds: longest time that a body may take to arrive.
        """
        self._app = app
        self.max_bytes = max_bytes
        self.max_pending_bytes = max_pending_bytes
        self.max_seconds = max_seconds
        self.pending_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        body = _Body(self, receive, int(length) if length.isdecimal() else 0)
        try:
            await self._app(scope, body.receive, send)
        finally:
            self.pending_bytes -= body.arrived
            scope["state"]["received_bytes"] = body.arrived


class _Body:
    """One body under way."""

    def __init__(self, limit: BodyLimit, receive: Receive, stated: int) -> None:
        self.arrived = 0
        self._limit = limit
        self._receive = receive
        self._stated = stated
        self._deadline: float | None = asyncio.get_running_loop().time() + limit.max_seconds

    async def receive(self) -> Message:
        self._check(self._stated)
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as error:
            raise SlowBodyError(
                f"The request took longer than {self._limit.max_seconds:g} s to arrive; "
                "send less at a time."
            ) from error
        if not message.get("more_body"):
            self._deadline = None  # what follows is the wait for the client to leave
        size = len(message.get("body", b""))
        self.arrived += size
        self._limit.pending_bytes += size
        self._check(self.arrived)
        return message

    def _check(self, size: int) -> None:
        """Refuses a body of which so many bytes are stated, or have arrived."""
        limit = self._limit
        if size > limit.max_bytes:
            raise BodyTooLargeError(
                f"The request is over the limit of {limit.max_bytes:,} bytes; send less at a time."
            )
        if size and limit.pending_bytes - self.arrived + size > limit.max_pending_bytes:
            raise QueueFullError("Too many bytes are waiting; try again in a moment.")


def _request_id(scope: Scope) -> str:
    sent = Headers(scope=scope).get("x-request-id", "")
    return sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex


def _trace_id(scope: Scope) -> str | None:
    """The trace that the caller says this request belongs to (W3C Trace Context)."""
    parent = _TRACE_PARENT.fullmatch(Headers(scope=scope).get("traceparent", ""))
    return parent[1] if parent else None
