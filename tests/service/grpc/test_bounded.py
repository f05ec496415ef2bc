"""Messages to health and reflection, which need no key, are small and soon there."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc import StatusCode

from tests.service.grpc.conftest import TIMEOUT_S, Serve

pytestmark = pytest.mark.anyio

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
METHODS = pytest.mark.parametrize("method", [CHECK, WATCH, REFLECTION])


async def only(*messages: bytes) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


async def never() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def refusal(
    serve: Serve, method: str, messages: AsyncIterator[bytes], body_timeout_ms: int = 60_000
) -> grpc.aio.AioRpcError:
    async with serve(body_timeout_ms=body_timeout_ms) as served:
        call: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
        call = served.channel.stream_stream(method)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in call(messages, timeout=TIMEOUT_S):
                pass
    return caught.value


@METHODS
async def test_message_that_is_too_large_is_refused(serve: Serve, method: str) -> None:
    message = b"\x0a\xff\x4e" + b"x" * 10_111  # a name
    error = await refusal(serve, method, only(message))
    assert error.code() is StatusCode.INVALID_ARGUMENT


@METHODS
async def test_bytes_that_are_no_message_are_refused(serve: Serve, method: str) -> None:
    error = await refusal(serve, method, only(b"\xff\xff"))
    assert error.code() is StatusCode.INVALID_ARGUMENT


@METHODS
async def test_message_that_does_not_arrive_is_not_waited_for(serve: Serve, method: str) -> None:
    error = await refusal(serve, method, never(), body_timeout_ms=50)
    assert error.code() is StatusCode.DEADLINE_EXCEEDED
    assert "0.05 s to arrive" in (error.details() or "")  # which the client's deadline does not say


@pytest.mark.parametrize("method", [CHECK, WATCH])
async def test_call_without_a_message_is_refused(serve: Serve, method: str) -> None:
    error = await refusal(serve, method, only())
    assert error.code() is StatusCode.INVALID_ARGUMENT
