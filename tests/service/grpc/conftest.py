"""A gRPC server around a fake engine, on the test's own event loop, and a channel to it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from numpy.typing import NDArray

from service.admission.pending_bytes import PendingBytes
from service.grpc import inference_pb2 as pb
from service.grpc.server import GrpcServer
from service.grpc.servicer import SERVICE
from service.inference.classifier import Observer
from service.inference.model_server import ModelServer
from service.inference.snapshot import Snapshot
from service.settings import Settings
from tests.service.conftest import FakeEngine, fake_model, snapshot_of

TIMEOUT_S = 60
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "black": (0, 0, 0)}
Metadata = Sequence[tuple[str, str]]
Answer = Any  # its class follows from that of the request


class Served:
    """A running server, and a client of it."""

    def __init__(
        self, model_server: ModelServer, server: GrpcServer, pending: PendingBytes
    ) -> None:
        self.model_server = model_server
        self.pending = pending
        self.server = server
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")

    def start(
        self,
        request: Message,
        metadata: Metadata = (),
        timeout: float | None = TIMEOUT_S,
        compression: grpc.Compression | None = None,
    ) -> "grpc.aio.UnaryUnaryCall[Any, Any]":
        """Begins the call that takes such a request."""
        name = type(request).__name__.removesuffix("Request")
        method: grpc.aio.UnaryUnaryMultiCallable[Any, Any] = self.channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=getattr(pb, f"{name}Response").FromString,
        )
        return method(request, metadata=tuple(metadata), timeout=timeout, compression=compression)

    async def send(self, method: str, messages: AsyncIterator[bytes]) -> grpc.aio.AioRpcError:
        """The error that messages end in which are bytes."""
        call: grpc.aio.StreamUnaryMultiCallable[bytes, bytes]
        call = self.channel.stream_unary(f"/{SERVICE}/{method}")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(messages, timeout=TIMEOUT_S)
        return caught.value

    async def ask(
        self,
        request: Message,
        metadata: Metadata = (),
        compression: grpc.Compression | None = None,
    ) -> Answer:
        return await self.start(request, metadata, compression=compression)

    async def refusal(
        self,
        request: Message,
        metadata: Metadata = (),
        timeout: float = TIMEOUT_S,
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.AioRpcError:
        """The error that a request ends in."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.start(request, metadata, timeout, compression)
        return caught.value


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve(engine: FakeEngine, tmp_path: Path) -> Serve:
    """Runs a server with the given settings around the fake engine, and others of other names."""

    @asynccontextmanager
    async def run(*others: str, **settings: object) -> AsyncIterator[Served]:
        def build(
            settings: Settings, _order: object, _before: object, observe: Observer
        ) -> Snapshot:
            models = [fake_model(FakeEngine(), settings, observe, name=name) for name in others]
            return snapshot_of(fake_model(engine, settings, observe), *models)

        validated = Settings.model_validate({"threads": 1, "grpc_port": 0, **settings})
        model_server = ModelServer(validated, build)
        model_server.start()
        await model_server.change()
        pending = PendingBytes(validated.pending_bytes_per_worker)
        server = GrpcServer(model_server, model_server.change, pending, tmp_path)
        await server.start()
        served = Served(model_server, server, pending)
        try:
            yield served
        finally:
            engine.go.set()
            await served.channel.close()
            await server.stop(0)
            await model_server.stop()

    return run


def pixels(*colours: str) -> NDArray[np.uint8]:
    """Pictures of one colour each, in the size of the fake engine."""
    rows = [np.full((8, 8, 3), COLOURS[colour], np.uint8) for colour in colours]
    return np.stack(rows)


def infer(
    images: NDArray[np.uint8], *, raw: bool = True, outputs: Sequence[str] = (), **changes: object
) -> pb.ModelInferRequest:
    """A request for these pictures; `changes` are to its input."""
    request = pb.ModelInferRequest(model_name="tiny", id="7")
    tensor: dict[str, Any] = {
        "name": "image",
        "datatype": "UINT8",
        "shape": images.shape,
        **changes,
    }
    request.inputs.add(**tensor)
    request.outputs.extend(
        pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in outputs
    )
    if raw:
        request.raw_input_contents.append(images.tobytes())
    return request


def labels(response: pb.ModelInferResponse) -> list[str]:
    """The most probable class of each picture."""
    by_name = dict(
        zip((it.name for it in response.outputs), response.raw_output_contents, strict=True)
    )
    rows = np.frombuffer(by_name["probabilities"], "<f4").reshape(-1, 3)
    return [("red", "green", "blue")[best] for best in rows.argmax(1)]


async def until(condition: Callable[[], object]) -> None:
    """Waits until something holds."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.01)
