"""Traces by OpenTelemetry, if the standard environment variables name a collector.

FastAPI makes the span of a request, and `Tracing.call` that of a gRPC call, within the caller's
trace. The stages of the request are its children. A batch is a child of the request of its first
picture and links to all its requests.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, StatusCode

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

In = TypeVar("In")
Prepared = TypeVar("Prepared")
Out = TypeVar("Out")

# How long the service waits for the collector when it stops.
CLOSE_S = 3
_MODEL, _VERSION = "model.name", "model.version"
# The statuses of a call that are errors of the server, by OpenTelemetry's conventions for gRPC.
_FAULTS = {
    *("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
}

logger = logging.getLogger(__name__)


class Tracing:
    """Makes the spans of stages and batches."""

    def __init__(self, provider: "TracerProvider") -> None:
        """Makes spans with this provider."""
        self.provider = provider
        self._tracer = provider.get_tracer("cifar10-serve")

    def trace_stage(self, model: str, stage: str, seconds: float) -> None:
        """Makes the span of a stage of the current request that has just ended."""
        request = trace.get_current_span().get_span_context()
        if request.trace_flags.sampled and stage != "infer":  # a batch has it: see `around`
            end = time.time_ns()
            self._add(request, stage, {_MODEL: model}, end - int(seconds * 1e9), end)

    def around(
        self,
        prepare: Callable[[In], Prepared],
        process: Callable[[Sequence[Prepared]], Sequence[Out]],
        model_of: Callable[[Prepared], tuple[str, str]],
    ) -> tuple[Callable[[In], Any], Callable[[Sequence[Any]], Sequence[Out]]]:
        """Wraps the two steps of a micro-batcher, so that each batch is a span.

        `prepare` must be called in the context of the item's request. `model_of` returns
        name and version of the model that an item is for. Returns what to give to the
        micro-batcher in place of the two steps.
        """

        def traced_prepare(item: In) -> tuple[SpanContext, Prepared]:
            return trace.get_current_span().get_span_context(), prepare(item)

        def traced_process(batch: Sequence[tuple[SpanContext, Prepared]]) -> Sequence[Out]:
            items = [item for _, item in batch]
            requests = [request for request, _ in batch if request.trace_flags.sampled]
            if not requests:
                return process(items)
            return self._trace_batch(requests, process, items, model_of(items[0]))

        return traced_prepare, traced_process

    @contextmanager
    def call(self, method: str, metadata: Mapping[str, str]) -> Iterator[None]:
        """Makes the span of a gRPC call, which `end_call` describes before it ends.

        Args:
            method: its service and method, such as `grpc.health.v1.Health/Check`.
            metadata: of the call; it says in which trace the caller makes it.
        """
        with self._tracer.start_as_current_span(
            method,
            propagate.extract(metadata),
            SpanKind.SERVER,
            {"rpc.system.name": "grpc", "rpc.method": method},
            record_exception=False,
            set_status_on_exception=False,
        ):
            yield

    def close(self) -> None:
        """Exports the remaining spans, for `CLOSE_S` at most."""
        closing = threading.Thread(target=self.provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_S)

    def _trace_batch(
        self,
        requests: Sequence[SpanContext],
        process: Callable[[Sequence[Prepared]], Sequence[Out]],
        items: Sequence[Prepared],
        model: tuple[str, str],
    ) -> Sequence[Out]:
        # Pictures of the same request share its span. Span contexts are not hashable.
        distinct = {request.span_id: request for request in requests}.values()
        named = dict(zip((_MODEL, _VERSION), model, strict=True))
        batch = self._tracer.start_span(
            "batch",
            _child_of(requests[0]),
            attributes={"batch.size": len(items), **named},
            links=[Link(request) for request in distinct],
        )
        start = time.time_ns()
        try:
            with trace.use_span(batch, end_on_exit=True):
                return process(items)
        finally:
            end = time.time_ns()
            for request in requests:
                self._add(request, "infer", named, start, end, [Link(batch.get_span_context())])

    def _add(
        self,
        parent: SpanContext,
        name: str,
        attributes: Mapping[str, str],
        start: int,
        end: int,
        links: Sequence[Link] = (),
    ) -> None:
        self._tracer.start_span(
            name, _child_of(parent), attributes=attributes, links=links, start_time=start
        ).end(end)


def name_model(model: str, version: str) -> None:
    """Names the model in the span of the current request, if there is one."""
    trace.get_current_span().set_attributes({_MODEL: model, _VERSION: version})


def end_call(code: str) -> None:
    """Gives the span of the current gRPC call its status, if there is one."""
    span = trace.get_current_span()
    span.set_attribute("rpc.response.status_code", code)
    if code in _FAULTS:
        span.set_attribute("error.type", code)
        span.set_status(StatusCode.ERROR)


def _child_of(parent: SpanContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(parent))


def start() -> Tracing | None:
    """Starts to export traces; returns None if the standard variables name no collector."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    named = any(os.environ.get(name) for name in endpoints)
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if not named or disabled or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    try:
        return Tracing(_open_provider())
    except ImportError:
        logger.warning("Traces are not exported: that needs the extra `otel`.")
    except ValueError as error:  # a variable has an invalid value
        logger.warning("Traces are not exported: %s", error)
    return None


def _open_provider() -> "TracerProvider":
    # Hundreds of modules: imported only when traces are exported.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # The default name of the service; the standard variables override it.
    resource = Resource.create({SERVICE_NAME: "cifar10-serve"})
    resource = resource.merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
