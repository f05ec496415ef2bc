"""The health service and reflection, as orchestrators and grpcurl use them."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from service.grpc.servicer import SERVICE
from tests.service.grpc.conftest import Serve, Served

Request = health_pb2.HealthCheckRequest
Status = health_pb2.HealthCheckResponse


async def check(served: Served, service: str = "") -> int:
    health: Any = HealthStub(served.channel)
    status: int = (await health.Check(Request(service=service))).status
    return status


@pytest.mark.anyio
async def test_health_is_of_the_service_and_of_each_model(serve: Serve) -> None:
    async with serve(api_keys="secret") as served:
        for service in ("", SERVICE, "tiny"):
            assert await check(served, service) == Status.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(served, "huge")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        served.model_server.draining = True
        for service in ("", "tiny"):
            assert await check(served, service) == Status.NOT_SERVING


@pytest.mark.anyio
async def test_watch_tells_of_changes_and_ends_with_the_server(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.grpc.health.WATCH_S", 0.01)
    async with serve() as served, asyncio.timeout(10):
        health: Any = HealthStub(served.channel)
        watch = aiter(health.Watch(Request(service="tiny")))
        assert (await anext(watch)).status == Status.SERVING
        unknown = aiter(health.Watch(Request(service="huge")))
        assert (await anext(unknown)).status == Status.SERVICE_UNKNOWN
        served.model_server.draining = True
        assert (await anext(watch)).status == Status.NOT_SERVING
        await served.server.stop(60)
        assert [it.status async for it in watch] == [Status.NOT_SERVING]


@pytest.mark.anyio
async def test_only_so_many_clients_watch(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.grpc.health.MAX_WATCHERS", 2)
    async with serve() as served, asyncio.timeout(10):
        health: Any = HealthStub(served.channel)
        calls = [health.Watch(Request()) for _ in range(2)]
        for call in calls:
            assert (await anext(aiter(call))).status == Status.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(aiter(health.Watch(Request())))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await check(served) == Status.SERVING
        calls[0].cancel()
        while True:  # until the server has noticed
            try:
                assert (await anext(aiter(health.Watch(Request())))).status == Status.SERVING
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.01)


@pytest.mark.anyio
async def test_reflection_lists_the_services_and_their_messages(serve: Serve) -> None:
    async with serve() as served:
        channel: Any = served.channel
        reflection: Any = ServerReflectionStub(channel)
        requests = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
        ]
        answers = [it async for it in reflection.ServerReflectionInfo(iter(requests))]
    names = {it.name for it in answers[0].list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} < names
    assert b"ModelInferRequest" in answers[1].file_descriptor_response.file_descriptor_proto[0]
