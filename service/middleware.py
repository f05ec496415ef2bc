"""What happens around every request, as plain ASGI."""

import asyncio
import logging
import random
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.errors import BodyTooLargeError, QueueFullError, SlowBodyError
from service.headers import header
from service.metrics import Metrics

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
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
        id_header = (b"x-request-id", request_id.encode())
        scope.setdefault("state", {}).update(request_id=request_id, started_at=start)
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
        # The first to come is the first that is late.
        self.under_way: dict[_Body, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = header(scope, b"content-length")
        body = _Body(self, receive, int(length) if length.isdigit() else 0)
        if self._timer is None:
            self._timer = body.loop.call_at(body.deadline, self._stop_late)
        self.under_way[body] = None
        try:
            await self._app(scope, body.receive, send)
        finally:
            self.under_way.pop(body, None)
            self.pending_bytes -= body.arrived
            scope["state"]["received_bytes"] = body.arrived

    def _stop_late(self) -> None:
        """Stops what is late; one timer for all bodies, for few of them are."""
        self._timer = None
        for body in list(self.under_way):
            if body.deadline > body.loop.time():
                self._timer = body.loop.call_at(body.deadline, self._stop_late)
                return
            del self.under_way[body]
            body.stop()


class _Body:
    """One body under way."""

    def __init__(self, limit: BodyLimit, receive: Receive, stated: int) -> None:
        self.arrived = 0
        self.loop = asyncio.get_running_loop()
        self.deadline = self.loop.time() + limit.max_seconds
        self._limit = limit
        self._receive = receive
        self._stated = stated
        self._complete = False
        self._late = False
        self._reader: asyncio.Task[object] | None = None

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()  # which waits for the client to leave
        self._check(self._stated)
        self._reader = asyncio.current_task()
        try:
            if self._late:
                raise self._slow()
            message = await self._receive()
        except asyncio.CancelledError:
            # `uncancel` tells whether someone else has cancelled the task, too.
            if self._late and self._reader is not None and not self._reader.uncancel():
                raise self._slow() from None
            raise
        finally:
            self._reader = None
        if not message.get("more_body"):
            self._complete = True
            self._limit.under_way.pop(self, None)
        size = len(message.get("body", b""))
        self.arrived += size
        self._limit.pending_bytes += size
        self._check(self.arrived)
        return message

    def stop(self) -> None:
        """Wakes the reader, or fails it when it reads on."""
        self._late = True
        if self._reader is not None:
            self._reader.cancel()

    def _slow(self) -> SlowBodyError:
        return SlowBodyError(
            f"The request took longer than {self._limit.max_seconds:g} s to arrive; "
            "send less at a time."
        )

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
    sent = header(scope, b"x-request-id")
    # No secret: `uuid4` would ask the kernel for better numbers.
    return sent.decode() if _REQUEST_ID.fullmatch(sent) else f"{random.getrandbits(128):032x}"


def _trace_id(scope: Scope) -> str | None:
    """The trace that the caller says this request belongs to (W3C Trace Context)."""
    parent = _TRACE_PARENT.fullmatch(header(scope, b"traceparent"))
    return parent[1].decode() if parent else None
