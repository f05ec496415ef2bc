"""Services of other packages, such as health and reflection, with messages within limits."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message

from service.errors import ServiceError
from service.grpc.arrivals import Arrivals
from service.grpc.status import TABLE

# Their messages are names.
MAX_BYTES = 10_000

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Bounded(grpc.GenericRpcHandler):
    """Handles the calls of the services that are added to it in the place of a server.

    gRPC reads a message before it calls the handler, and waits for it forever. The methods are
    therefore declared with a stream of requests, which looks the same to clients.
    """

    def __init__(self, arrivals: Arrivals) -> None:
        """Has no services yet."""
        self._arrivals = arrivals
        self._handlers: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, _handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Does nothing: the same methods are added by their names."""

    def add_registered_method_handlers(self, service: str, methods: Mapping[str, Handler]) -> None:
        """Adds the methods of a service."""
        for name, method in methods.items():
            self._handlers[f"/{service}/{name}"] = self._bound(method)

    def service(self, details: grpc.HandlerCallDetails) -> "Handler | None":
        """Finds the handler of a call."""
        return self._handlers.get(details.method)

    def _bound(self, method: Handler) -> Handler:
        read: Any = method.request_deserializer
        write: Any = method.response_serializer
        answer: Any = method.unary_unary or method.unary_stream or method.stream_stream

        async def requests(
            messages: AsyncIterator[bytes], context: Context
        ) -> AsyncIterator[Message]:
            with contextlib.suppress(_NoMessageError):
                while True:
                    yield await self._next(read, messages, context)

        async def first(messages: AsyncIterator[bytes], context: Context) -> Message:
            try:
                return await self._next(read, messages, context)
            except _NoMessageError:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The call has no message.")

        async def unary(messages: AsyncIterator[bytes], context: Context) -> Message:
            answered: Message = await answer(await first(messages, context), context)
            return answered

        async def stream(
            messages: AsyncIterator[bytes], context: Context
        ) -> AsyncIterator[Message]:
            is_stream = method.request_streaming
            asked = requests(messages, context) if is_stream else await first(messages, context)
            async for answered in answer(asked, context):
                yield answered

        if method.response_streaming:
            return grpc.stream_stream_rpc_method_handler(stream, response_serializer=write)
        return grpc.stream_unary_rpc_method_handler(unary, response_serializer=write)

    async def _next(
        self,
        read: Callable[[bytes], Message],
        messages: AsyncIterator[bytes],
        context: Context,
    ) -> Message:
        try:
            data = await self._arrivals.next(messages)
        except ServiceError as error:
            await context.abort(TABLE[type(error)], str(error))
        except StopAsyncIteration:
            raise _NoMessageError from None
        if len(data) > MAX_BYTES:
            text = f"The message has more than {MAX_BYTES:,} bytes."
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        try:
            return read(data)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The bytes are no such message.")


class _NoMessageError(Exception):
    """There are no more messages."""
