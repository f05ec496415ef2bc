"""Gives each request its id, one line of the log, its metrics and, on an unhandled error, a 500."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import errors
from service.errors import ServiceError
from service.http import problems
from service.http.context import RequestContext
from service.observability import access_log
from service.observability.metrics import Metrics

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
            self._metrics.observe_stage(context.model_name, "respond", seconds)
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
        if context.key is not None:
            fields["key"] = context.key
        if context.model is not None:
            fields["model"] = context.model.model
            fields["model_version"] = int(context.model.version)
        if trace_id := access_log.trace_id(_text(context.headers, b"traceparent")):
            fields["trace_id"] = trace_id
        self._write(route, status, context.started_at, fields)

    def record_refusal(
        self, *, error: ServiceError, status: int, started_at: float, **fields: str | int
    ) -> None:
        """Records a request that was refused before the app saw it; `fields` go into the log."""
        reason = errors.reason(type(error))
        self._metrics.count_rejection(reason)
        self._write(UNMATCHED, status, started_at, {"reason": reason, **fields})

    def _write(self, route: str, status: int, started_at: float, fields: dict[str, Any]) -> None:
        seconds = time.perf_counter() - started_at
        self._metrics.count_request(route, status, seconds)
        is_probe = route.startswith(PROBES) and status < 400
        level = logging.DEBUG if is_probe else logging.INFO
        access_log.write(logger, level, {"status": status}, seconds, fields)


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
        request_id = access_log.request_id(_text(headers, b"x-request-id"))
        context = RequestContext(headers, request_id, time.perf_counter())
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
        except asyncio.CancelledError:
            # Other servers than `protocol`, such as Ray's proxies, do this after a disconnect.
            status = status or problems.CLIENT_CLOSED_REQUEST
            raise
        except Exception as error:
            fields = {"request_id": context.request_id}
            logger.exception("unhandled error", extra={"fields": fields})
            if status:
                raise  # the answer has begun: the server has to break the connection
            problem = problems.describe(error, context.request_id)
            await problems.respond(problem, scope["path"])(scope, receive, send_with_id)
        finally:
            self._access_log.record(scope, context, status, sent_bytes)


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")
