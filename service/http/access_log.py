"""What is kept of each request: its id, a log line and its metrics."""

import logging
import random
import re
import time

from fastapi import Response
from starlette.types import Scope

from service.http import problems
from service.http.headers import header
from service.observability.metrics import Metrics

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
# Asked every few seconds by machines: logged at debug level only.
PROBES = ("/health", "/v2/health", "/metrics")

logger = logging.getLogger(__name__)


class AccessLog:
    """AccessLog requests."""

    def __init__(self, metrics: Metrics) -> None:
        """Counts in some metrics."""
        self._metrics = metrics

    def begin(self, scope: Scope) -> tuple[bytes, bytes]:
        """Gives a request that begins its id; returns the header that tells the client."""
        request_id = _request_id(scope)
        scope.setdefault("state", {}).update(request_id=request_id, started_at=time.perf_counter())
        return (b"x-request-id", request_id.encode())

    def answer_unhandled_error(self, scope: Scope) -> Response:
        """Logs the exception at hand, which is our mistake, and makes its answer."""
        request_id = scope["state"]["request_id"]
        logger.exception("mistake", extra={"fields": {"request_id": request_id}})
        problem = problems.describe(Exception(), request_id)
        return problems.respond(problem, scope["path"])

    def end(self, scope: Scope, status: int, sent: int) -> None:
        """AccessLog a request that is answered, with so many bytes."""
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
                "request_id": state["request_id"],
                "client": (scope.get("client") or ("unknown",))[0],
            }
            if "model_version" in state:
                fields["model_version"] = state["model_version"]
            if trace := _trace_id(scope):
                fields["trace_id"] = trace
            logger.log(level, "request", extra={"fields": fields})


def _request_id(scope: Scope) -> str:
    sent = header(scope, b"x-request-id")
    if sent and _REQUEST_ID.fullmatch(sent):
        return sent.decode()
    # No secret: `uuid4` would ask the kernel for better numbers.
    return f"{random.getrandbits(128):032x}"


def _trace_id(scope: Scope) -> str | None:
    """The trace that the caller says this request belongs to (W3C Trace Context)."""
    sent = header(scope, b"traceparent")
    parent = _TRACE_PARENT.fullmatch(sent) if sent else None
    return parent[1].decode() if parent else None
