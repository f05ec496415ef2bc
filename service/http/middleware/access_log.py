"""Gives each request its id, one line of the log, its metrics and, on an unhandled error, a 500."""

import logging
import random
import re
import time
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http import problems
from service.http.context import RequestContext
from service.observability.metrics import Metrics

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
# Paths that machines request every few seconds: logged at debug level, and not traced.
PROBES = ("/health", "/v2/health", "/metrics")
UNMATCHED = "unmatched"
_MAX_PATH = 200

logger = logging.getLogger(__name__)


class AccessLog:
    """Writes the log line of each request and counts it."""

    def __init__(self, metrics: Metrics) -> None:
        """Counts in the given metrics."""
        self._metrics = metrics

    def record(self, scope: Scope, context: RequestContext, status: int, sent_bytes: int) -> None:
        """Records a request that the app has answered."""
        if context.answered_at is not None:
            seconds = time.perf_counter() - context.answered_at
            self._metrics.observe_stage("respond", seconds)
        # Below a mount there is no route, only the path of the mount.
        route: str = getattr(scope.get("route"), "path", scope.get("root_path")) or UNMATCHED
        fields: dict[str, Any] = {
            "method": scope["method"],
            "path": scope["raw_path"][:_MAX_PATH].decode("latin-1"),
            "received_bytes": context.received_bytes,
            "sent_bytes": sent_bytes,
            "request_id": context.request_id,
            "client": (scope.get("client") or ("unknown",))[0],
        }
        if context.model is not None:
            fields["model"] = context.model.model
            fields["model_version"] = int(context.model.version)
        if trace_id := _trace_id(context.headers):
            fields["trace_id"] = trace_id
        self._write(route, status, context.started_at, fields)

    def record_refusal(
        self, *, status: int, reason: str, started_at: float, **fields: str | int
    ) -> None:
        """Records a request that was refused before the app saw it; `fields` go into the log."""
        self._metrics.count_rejection(reason)
        self._write(UNMATCHED, status, started_at, {"reason": reason, **fields})

    def _write(self, route: str, status: int, started_at: float, fields: dict[str, Any]) -> None:
        seconds = time.perf_counter() - started_at
        self._metrics.count_request(route, status, seconds)
        is_probe = route.startswith(PROBES) and status < 400
        level = logging.DEBUG if is_probe else logging.INFO
        if logger.isEnabledFor(level):
            fields = {"status": status, "duration_ms": round(seconds * 1000, 2), **fields}
            # `logger.log` would look for its caller, which no line shows.
            record = logger.makeRecord(
                logger.name, level, "", 0, "request", (), None, extra={"fields": fields}
            )
            logger.handle(record)


class AccessLogMiddleware:
    """Records every request; see `AccessLog`."""

    def __init__(self, app: ASGIApp, access_log: AccessLog) -> None:
        """Wraps an app."""
        self._app = app
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # `Headers` of Starlette would search them anew for each name.
        headers = dict(reversed(scope["headers"]))
        context = RequestContext(headers, _request_id(headers), time.perf_counter())
        scope.setdefault("state", {})["context"] = context
        id_header = (b"x-request-id", context.request_id.encode())
        status = sent_bytes = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), id_header]
            else:
                sent_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            fields = {"request_id": context.request_id}
            logger.exception("unhandled error", extra={"fields": fields})
            if status:
                raise  # the answer has begun: the server has to break the connection
            problem = problems.describe(error, context.request_id)
            await problems.respond(problem, scope["path"])(scope, receive, send_with_id)
        finally:
            self._access_log.record(scope, context, status, sent_bytes)


def new_request_id() -> str:
    """A random id; it is no secret, so it need not come from the kernel, which `uuid4` asks."""
    return f"{random.getrandbits(128):032x}"


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    sent = headers.get(b"x-request-id")
    return sent.decode() if sent and _REQUEST_ID.fullmatch(sent) else new_request_id()


def _trace_id(headers: Mapping[bytes, bytes]) -> str | None:
    """The trace that the caller says this request belongs to (W3C Trace Context)."""
    sent = headers.get(b"traceparent")
    parent = _TRACE_PARENT.fullmatch(sent) if sent else None
    return parent[1].decode() if parent else None
