"""How many requests the service answers over gRPC, and how many over HTTP with binary tensors.

    python -m tests.benchmark.protocols

One worker computes on one core, and the clients have another. The pixels are of the model's size,
so that nothing is decoded.
"""

import asyncio
import functools
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import grpc
import numpy as np

from service.grpc import inference_pb2 as pb
from tests.benchmark.command import CORES, print_lines
from tests.benchmark.environments import ROOT
from tests.benchmark.loopback import free_port
from tests.benchmark.pictures import SMALL, make_pictures
from tests.benchmark.servers import Probe, Server
from training import environment

# Pictures in a request, and connections, whose pictures have room in the queue.
BATCHES = {1: 16, 32: 4}
ROUNDS = 5
WARM_UP_S = 1
SECONDS = 4
# Of the rate of HTTP.
LEAST = 0.8

# Sends requests over and over until it is cancelled; calls the function after each answer.
Client = Callable[[Callable[[], None]], Awaitable[None]]


class Rate(NamedTuple):
    """Requests a second, and processor time of the service for each in milliseconds."""

    per_s: float
    cpu_ms: float


def main() -> int:
    """Measures and prints; returns the exit status."""
    return print_lines(measure)


def measure(scratch: Path) -> Iterator[str]:
    """Gives the lines of the report.

    Raises:
        StartError: the service cannot be started.
        RuntimeError: it does not answer.
    """
    yield f"{environment.hardware()}; the service has one core, and the clients another"
    first, second = sorted(os.sched_getaffinity(0))[:CORES]
    port = free_port()
    settings = {
        "CIFAR10_MODELS": str(ROOT / "models"),
        "CIFAR10_PROVIDER": "cpu",
        "CIFAR10_WORKERS": "1",
        "CIFAR10_THREADS": "1",
        "CIFAR10_GRPC_PORT": str(port),
    }
    command = (sys.executable, "-m", "service")
    probe = Probe(make_pictures(())[SMALL][0])
    os.sched_setaffinity(0, {first})
    with Server("service", command, scratch / "server", probe, settings) as server:
        os.sched_setaffinity(0, {second})
        for batch, connections in BATCHES.items():
            pixels = np.random.default_rng(0).integers(0, 256, (batch, 32, 32, 3), np.uint8)
            http = functools.partial(_ask_http, server.port, _http_body(pixels.tobytes(), batch))
            call = functools.partial(_call, port, _message(pixels.tobytes(), batch))
            rounds = [
                (_rate(server, http, connections), _rate(server, call, connections))
                for _ in range(ROUNDS)
            ]
            yield from _report(batch, rounds)


def _report(batch: int, rounds: list[tuple[Rate, Rate]]) -> Iterator[str]:
    for name, rates in zip(("HTTP", "gRPC"), zip(*rounds, strict=True), strict=True):
        per_s, cpu_ms = (median(values) for values in zip(*rates, strict=True))
        yield f"batches of {batch}, {name}: {per_s:,.0f} requests/s, {cpu_ms:.2f} ms each"
    ratios = [over_grpc.per_s / http.per_s for http, over_grpc in rounds]
    # Which other work on the machine changes less.
    cpu_ratios = [http.cpu_ms / over_grpc.cpu_ms for http, over_grpc in rounds]
    verdict = "met" if median(ratios) >= LEAST else "MISSED"
    yield (
        f"  {verdict}: gRPC has {median(ratios):.2f} of the rate of HTTP "
        f"({min(ratios):.2f} to {max(ratios):.2f}; at least {LEAST}), and by processor time "
        f"{median(cpu_ratios):.2f} ({min(cpu_ratios):.2f} to {max(cpu_ratios):.2f})"
    )


def _rate(server: Server, client: Client, connections: int) -> Rate:
    return asyncio.run(_measure(server, client, connections))


async def _measure(server: Server, client: Client, connections: int) -> Rate:
    answers = 0

    def count() -> None:
        nonlocal answers
        answers += 1

    clients = [asyncio.ensure_future(client(count)) for _ in range(connections)]
    await asyncio.sleep(WARM_UP_S)
    began_at, used, before = time.perf_counter(), sum(server.cpu_s().values()), answers
    await asyncio.sleep(SECONDS)
    answered = answers - before
    if not answered:
        raise RuntimeError("no request was answered: the machine has too much other work")
    seconds = time.perf_counter() - began_at
    cpu_s = sum(server.cpu_s().values()) - used
    for task in clients:
        if task.done():
            await task  # which raises what has ended it
        task.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return Rate(answered / seconds, 1000 * cpu_s / answered)


async def _ask_http(port: int, request: bytes, count: Callable[[], None]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while True:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200 "), head
            await reader.readexactly(int(head.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]))
            count()
    finally:
        writer.close()


async def _call(port: int, request: bytes, count: Callable[[], None]) -> None:
    own_connection = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", own_connection) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        method = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        while True:
            await method(request)
            count()


def _http_body(pixels: bytes, batch: int) -> bytes:
    tensor = {
        "name": "image",
        "datatype": "UINT8",
        "shape": [batch, 32, 32, 3],
        "parameters": {"binary_data_size": len(pixels)},
    }
    parameters = {"binary_data_output": True}
    document = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
    head = (
        "POST /v2/models/cifar10/infer HTTP/1.1\r\nhost: x\r\n"
        f"content-length: {len(document) + len(pixels)}\r\n"
        f"inference-header-content-length: {len(document)}\r\n\r\n"
    )
    return head.encode() + document + pixels


def _message(pixels: bytes, batch: int) -> bytes:
    request = pb.ModelInferRequest(model_name="cifar10", raw_input_contents=[pixels])
    request.inputs.add(name="image", datatype="UINT8", shape=[batch, 32, 32, 3])
    return request.SerializeToString()


if __name__ == "__main__":
    sys.exit(main())
