"""The server: several on one port, and how one stops."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc import StatusCode

from service.errors import StartupError
from service.grpc import inference_pb2 as pb
from service.grpc.servicer import SERVICE
from service.process.sockets import reserve
from tests.service.conftest import FakeEngine, keep_busy
from tests.service.grpc.conftest import TIMEOUT_S, Serve, Served, infer, labels, pixels, until

# As gRPC's documentation and KServe's client have it.
RETRY = {
    "name": [{}],
    "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    },
}
OPTIONS = [
    ("grpc.service_config", json.dumps({"methodConfig": [RETRY]})),
    ("grpc.use_local_subchannel_pool", 1),  # each channel has a connection of its own
    ("grpc.initial_reconnect_backoff_ms", 100),
]


# In so many seconds clients hear that a server refuses calls, also on a busy machine.
BUSY_S = 3


@pytest.mark.anyio
async def test_call_in_flight_is_answered_while_the_server_stops(
    serve: Serve, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.grpc.server.REFUSE_S", BUSY_S)
    async with serve() as served:
        busy = await keep_busy(served.model_server, engine)
        call = served.start(infer(pixels("green")))
        await until(lambda: served.model_server.queue_depth == 1)
        stopping = asyncio.create_task(served.server.stop(60))
        await asyncio.sleep(0)
        error = await served.refusal(infer(pixels("red")))
        assert error.code() is StatusCode.UNAVAILABLE
        assert int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) > BUSY_S * 1000
        engine.go.set()
        await busy
        assert labels(await call) == ["green"]
        await stopping


@pytest.mark.anyio
async def test_call_that_outlasts_the_grace_is_cut_off(serve: Serve, engine: FakeEngine) -> None:
    async with serve() as served:
        busy = await keep_busy(served.model_server, engine)
        call = served.start(infer(pixels("green")))
        await until(lambda: served.model_server.queue_depth == 1)
        await served.server.stop(0.1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is StatusCode.UNAVAILABLE
        engine.go.set()
        await busy


@pytest.mark.anyio
async def test_client_that_retries_loses_no_call_when_one_of_two_servers_stops(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.grpc.server.REFUSE_S", BUSY_S)
    with reserve("127.0.0.1", 0) as reserved:
        port = reserved.getsockname()[1]
        async with serve(grpc_port=port) as first, serve(grpc_port=port) as second:
            enough = asyncio.Event()
            async with channels(port, 32) as opened:
                tasks = [asyncio.create_task(ask_until(enough, channel)) for channel in opened]
                await until(lambda: min(calls_of(first), calls_of(second)) > 250)
                await first.server.stop(10)
                assert not any(task.done() for task in tasks)
                enough.set()
                answered = sum([await task for task in tasks])
            assert calls_of(first) > 250
            assert calls_of(first) + calls_of(second) == answered


@pytest.mark.anyio
async def test_old_connection_is_replaced_without_a_loss(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.grpc.server.MAX_AGE_S", 0.3)
    clients: set[str] = set()

    def note(peer: str) -> str:
        clients.add(peer)
        return peer

    monkeypatch.setattr("service.grpc.calls._address", note)
    async with serve() as served:
        async with asyncio.timeout(60):
            while len(clients) < 6:
                assert labels(await served.ask(infer(pixels("blue")))) == ["blue"]


@asynccontextmanager
async def channels(port: int, count: int) -> AsyncIterator[list[grpc.aio.Channel]]:
    opened = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", OPTIONS) for _ in range(count)]
    try:
        yield opened
    finally:
        for channel in opened:
            await channel.close()


async def ask_until(enough: asyncio.Event, channel: grpc.aio.Channel) -> int:
    """Makes calls one after the other; returns how many are answered."""
    calls = 0
    method = channel.unary_unary(
        f"/{SERVICE}/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    while not enough.is_set():
        assert labels(await method(infer(pixels("blue")), timeout=TIMEOUT_S)) == ["blue"]
        calls += 1
    return calls


def calls_of(served: Served) -> float:
    """How many calls a server has answered."""
    served.model_server.metrics.write()
    found = served.model_server.metrics.statistics().get(("tiny", "1"))
    return found.requests["success"].count if found and found.requests else 0


@pytest.mark.anyio
async def test_port_that_is_in_use_is_a_startup_error(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=f"Port {port} for gRPC"):
            async with serve(grpc_port=port):
                pass


@pytest.mark.anyio
async def test_all_addresses_are_those_of_ipv4_and_ipv6(serve: Serve) -> None:
    async with serve(host="::") as served:
        for host in ("127.0.0.1", "[::1]"):
            async with grpc.aio.insecure_channel(f"{host}:{served.server.port}") as channel:
                await asyncio.wait_for(channel.channel_ready(), 10)


def test_reserved_port_takes_no_connections_and_keeps_others_away() -> None:
    with reserve("127.0.0.1", 0) as reserved:
        address = reserved.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=1)
        with pytest.raises(OSError, match="in use"):
            socket.create_server(address)
        with pytest.raises(OSError, match="in use"):
            reserve(*address)
