"""Handles each call: its key, message, status, log line and metrics."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import unquote

import grpc
from google.protobuf.message import Message
from grpc import StatusCode

from service import errors
from service.admission.pending_bytes import PendingBytes
from service.admission.retry_after import RetryAfter
from service.errors import ServiceError
from service.grpc.arrivals import Arrivals
from service.grpc.parsing import parse, texts
from service.grpc.status import TABLE
from service.inference.model_server import ModelServer
from service.inference.served_model import ServedModel
from service.observability import access_log, tracing

_NOT_OFFERED = (
    "This method is not offered: there are no streams, shared memory, trace or log settings."
)

logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


@dataclass(slots=True)
class Call:
    """Facts of one call.

    Attributes:
        metadata: the metadata that is text, of repeated names the first.
        request_id: id of the call, the client's own if that is acceptable.
        started_at: when the call began, on the clock of `time.perf_counter`.
        deadline_s: seconds that the client waits from then on; None without a deadline.
        received_bytes: size of the message.
        key: names the API key, None where none is known.
        model: the model that answers, once that is known.
        answered_at: when the answer was known, on the same clock.
    """

    metadata: Mapping[str, str]
    request_id: str
    started_at: float
    deadline_s: float | None
    received_bytes: int = 0
    key: str | None = None
    model: ServedModel | None = None
    answered_at: float | None = None

    @property
    def model_name(self) -> str:
        """Name of the model; empty where no served one is known."""
        return self.model.model if self.model else ""


class Method(NamedTuple):
    """One method of a service.

    Attributes:
        request: class of its message.
        answer: answers a message.
        admit: checks and notes the key of a call, before the message is read.
        tensors: number of the field of the message that holds bytes of tensors.
        named_by: numbers of the fields of the message that name model and version, of a method
            that uses the queue of the model.
        is_probe: whether machines call it every few seconds: logged at debug level.
    """

    request: type[Message]
    answer: Callable[[Any, Call], Awaitable[Message]]
    admit: Callable[[Call], Awaitable[None]] | None = None
    tensors: int | None = None
    named_by: tuple[int, int] | None = None
    is_probe: bool = False


class Calls(grpc.GenericRpcHandler):
    """Handles the calls of one service.

    Attributes:
        refuse_for_s: once this is set, calls are refused, and sent again after so many seconds.

    gRPC reads and parses the message of a method with one request and one answer before it calls
    the handler. The methods are therefore declared with a stream of requests, which looks the same
    to clients: a call without a key costs no memory.
    """

    def __init__(
        self,
        service: str,
        methods: Mapping[str, Method],
        model_server: ModelServer,
        pending: PendingBytes,
        arrivals: Arrivals,
    ) -> None:
        """Handles these methods, by their names.

        Args:
            service: name of the service.
            methods: its methods.
            model_server: answers them.
            pending: counts the bytes of whole messages with those of all protocols.
            arrivals: waits for messages.
        """
        self._prefix = f"/{service}/"
        self._settings = model_server.settings
        self._model_server = model_server
        self._retry_after = RetryAfter(lambda: model_server.seconds_per_item)
        self.refuse_for_s: float | None = None
        self._pending = pending
        self._arrivals = arrivals
        self._handlers = {
            self._prefix + name: self._handler(name, method) for name, method in methods.items()
        }
        self._other: Handler = grpc.stream_unary_rpc_method_handler(self._refuse)

    def service(self, details: grpc.HandlerCallDetails) -> "Handler | None":
        """Finds the handler of a call; methods of Triton that are not offered have one, too."""
        handler = self._handlers.get(details.method)
        if handler is None and details.method.startswith(self._prefix):
            return self._other
        return handler

    def _handler(self, name: str, method: Method) -> Handler:
        async def handle(messages: AsyncIterator[bytes], context: Context) -> bytes:
            return await self._handle(name, method, messages, context)

        return grpc.stream_unary_rpc_method_handler(handle)

    async def _handle(
        self, name: str, method: Method, messages: AsyncIterator[bytes], context: Context
    ) -> bytes:
        call = _begin(context)
        code, text, trailing = StatusCode.OK, "", [("x-request-id", call.request_id)]
        answer = b""
        with self._span(name, method, call):
            try:
                answer = await self._answer(method, messages, call)
            except asyncio.CancelledError:  # the client has left, or its deadline is over
                is_late = call.deadline_s is not None and _elapsed(call) >= call.deadline_s
                code = StatusCode.DEADLINE_EXCEEDED if is_late else StatusCode.CANCELLED
                raise
            except Exception as error:
                code, text = self._explain(error, call)
                trailing += self._pushback(error)
            finally:
                self._model_server.metrics.count_call(name, code.name, _elapsed(call))
                self._log(name, method, code, call, len(answer), context.peer())
                tracing.end_call(code.name)
        if code is not StatusCode.OK:
            await context.abort(code, text, tuple(trailing))
        context.set_trailing_metadata(tuple(trailing))
        return answer

    def _span(
        self, name: str, method: Method, call: Call
    ) -> contextlib.AbstractContextManager[None]:
        """The span of a call, if there are traces; probes have none."""
        traces = self._model_server.tracing
        if traces is None or method.is_probe:
            return contextlib.nullcontext()
        return traces.call(self._prefix[1:] + name, call.metadata)

    async def _answer(self, method: Method, messages: AsyncIterator[bytes], call: Call) -> bytes:
        if self.refuse_for_s is not None:
            raise errors.NotReadyError("The service is shutting down; try again in a moment.")
        self._shed(method, call)
        if method.admit is not None:
            await method.admit(call)
        data = await self._receive(messages)
        call.received_bytes = len(data)
        self._pending.add(len(data))
        try:
            self._pending.check(len(data), own=len(data))
            self._shed(method, call, data)
            answer = await method.answer(parse(method.request, data, method.tensors), call)
        finally:
            self._pending.remove(len(data))
        return answer.SerializeToString()

    def _shed(self, method: Method, call: Call, data: bytes | None = None) -> None:
        """Refuses a call that meets a full queue: before its message is read, or else parsed.

        Raises:
            QueueFullError: the queue of its model is full, or before it is known, of all models.
        """
        server = self._model_server
        if method.named_by is None or server.queue_depth < self._settings.max_queue:
            return
        models = server.snapshot.loaded if server.snapshot else []
        if data is not None:
            name, version = texts(data, *method.named_by)
            with contextlib.suppress(ServiceError):  # which the method raises again
                models = [server.find(name, version or None)]
        if models and all(server.is_full(model.name, str(model.version)) for model in models):
            if len(models) == 1:
                call.model = models[0].served
            raise errors.QueueFullError()

    async def _receive(self, messages: AsyncIterator[bytes]) -> bytes:
        try:
            return await self._arrivals.next(messages)
        except StopAsyncIteration:
            raise errors.EmptyUploadError("The call has no message.") from None

    def _explain(self, error: Exception, call: Call) -> tuple[StatusCode, str]:
        """The status of an error; an unexpected error gives no detail away."""
        if isinstance(error, ServiceError) and type(error) in TABLE:
            reason = errors.reason(type(error))
            self._model_server.metrics.count_rejection(reason, call.model_name)
            return TABLE[type(error)], str(error)
        logger.exception("unhandled error", extra={"fields": {"request_id": call.request_id}})
        text = "The service failed; report it with the request id, which is in its log."
        return StatusCode.INTERNAL, text

    def _pushback(self, error: Exception) -> list[tuple[str, str]]:
        """When to try again, as metadata that gRPC's clients understand."""
        seconds: float
        if isinstance(error, errors.RateLimitedError):
            seconds = error.retry_after_s
        elif self.refuse_for_s is not None:
            seconds = self.refuse_for_s
        elif isinstance(error, errors.QueueFullError):
            seconds = self._retry_after.next()
        else:
            return []
        return [("grpc-retry-pushback-ms", str(round(seconds * 1000)))]

    async def _refuse(self, _messages: AsyncIterator[bytes], context: Context) -> bytes:
        self._model_server.metrics.count_call("other", StatusCode.UNIMPLEMENTED.name, 0)
        await context.abort(StatusCode.UNIMPLEMENTED, _NOT_OFFERED)

    def _log(
        self, name: str, method: Method, code: StatusCode, call: Call, sent: int, peer: str
    ) -> None:
        if call.answered_at is not None:
            seconds = time.perf_counter() - call.answered_at
            self._model_server.metrics.observe_stage(call.model_name, "respond", seconds)
        fields: dict[str, Any] = {
            "path": self._prefix + name,
            "received_bytes": call.received_bytes,
            "sent_bytes": sent,
            "request_id": call.request_id,
            "client": _address(peer),
        }
        if call.key is not None:
            fields["key"] = call.key
        if call.model is not None:
            fields["model"] = call.model.model
            fields["model_version"] = int(call.model.version)
            tracing.name_model(call.model.model, call.model.version)
        if trace_id := access_log.trace_id(call.metadata.get("traceparent")):
            fields["trace_id"] = trace_id
        is_quiet = method.is_probe and code is StatusCode.OK
        level = logging.DEBUG if is_quiet else logging.INFO
        access_log.write(logger, level, {"grpc_status": code.name}, _elapsed(call), fields)


def _begin(context: Context) -> Call:
    sent = context.invocation_metadata() or ()
    metadata = {name: value for name, value in reversed(tuple(sent)) if isinstance(value, str)}
    request_id = access_log.request_id(metadata.get("x-request-id"))
    return Call(metadata, request_id, time.perf_counter(), context.time_remaining())


def _elapsed(call: Call) -> float:
    return time.perf_counter() - call.started_at


def _address(peer: str) -> str:
    """The client's address, without port, of what gRPC calls a peer."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]") or "unknown"
