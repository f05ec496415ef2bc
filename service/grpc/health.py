"""The health service of gRPC (grpc.health.v1), as orchestrators ask it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthServicer

from service.errors import NotReadyError, NotServedError
from service.inference.model_server import ModelServer

# Seconds between two checks of the states that clients watch.
WATCH_S = 1
# Clients that may watch at a time: they need no key, and each takes memory.
MAX_WATCHERS = 1000

Status = health_pb2.HealthCheckResponse
Context = grpc.aio.ServicerContext[Any, Any]


class Health(HealthServicer):
    """Reports whether to send new calls here, for the service ("") or for a model by its name."""

    def __init__(self, model_server: ModelServer, services: set[str]) -> None:
        """Reports the model server; `services` are other names of the whole service."""
        self._model_server = model_server
        self._whole = services | {""}
        self._is_stopping = False
        self._watchers = 0
        self._look = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """Ends the calls that watch, which would otherwise last until their clients leave."""
        self._is_stopping = True
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    def _wake(self) -> None:
        """Lets all that watch look at the state."""
        self._timer = None
        self._look.set()
        self._look = asyncio.Event()

    async def Check(  # noqa: N802 (gRPC's name)
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Reports the state now."""
        status = self._status(request.service)
        if status == Status.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service or model.")
        return Status(status=status)

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Reports the state now and after each change, until the service stops."""
        if self._watchers >= MAX_WATCHERS:
            text = f"{MAX_WATCHERS} clients watch already; ask by Check."
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        self._watchers += 1
        last = None
        try:
            while not self._is_stopping:
                status = self._status(request.service)
                if status != last:
                    yield Status(status=status)
                last = status
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(WATCH_S, self._wake)
                await self._look.wait()
            yield Status(status=Status.NOT_SERVING)
        finally:
            self._watchers -= 1

    def _status(self, service: str) -> int:
        try:
            self._model_server.check_ready(None if service in self._whole else service)
        except NotServedError:
            return Status.SERVICE_UNKNOWN
        except NotReadyError:
            return Status.NOT_SERVING
        return Status.SERVING
