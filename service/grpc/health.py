"""The health service of gRPC (grpc.health.v1), as orchestrators ask it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthServicer

from service.errors import NotReadyError, NotServedError
from service.inference.model_server import ModelServer

# Seconds between two checks of the state that a client watches.
WATCH_S = 1

Status = health_pb2.HealthCheckResponse
Context = grpc.aio.ServicerContext[Any, Any]


class Health(HealthServicer):
    """Reports whether to send new calls here, for the service ("") or for a model by its name."""

    def __init__(self, model_server: ModelServer, services: set[str]) -> None:
        """Reports the model server; `services` are other names of the whole service."""
        self._model_server = model_server
        self._whole = services | {""}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ends the calls that watch, which would otherwise last until their clients leave."""
        self._stopping.set()

    async def Check(  # noqa: N802 (gRPC's name)
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Reports the state now."""
        status = self._status(request.service)
        if status == Status.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service or model.")
        return Status(status=status)

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, _context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Reports the state now and after each change, until the service stops."""
        last = None
        while not self._stopping.is_set():
            status = self._status(request.service)
            if status != last:
                yield Status(status=status)
            last = status
            try:
                await asyncio.wait_for(self._stopping.wait(), WATCH_S)
            except TimeoutError:
                continue
        yield Status(status=Status.NOT_SERVING)

    def _status(self, service: str) -> int:
        try:
            self._model_server.check_ready(None if service in self._whole else service)
        except NotServedError:
            return Status.SERVICE_UNKNOWN
        except NotReadyError:
            return Status.NOT_SERVING
        return Status.SERVING
