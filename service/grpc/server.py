"""The gRPC server of one process, beside its HTTP server and on the same event loop."""

import asyncio
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection

from service.admission.keys import Authenticator
from service.admission.pending_bytes import PendingBytes
from service.errors import StartupError
from service.grpc.calls import Calls
from service.grpc.health import Health
from service.grpc.servicer import SERVICE, InferenceService
from service.inference.model_server import ModelServer
from service.v2.repository import Administer

# Calls at a time on each connection; the client keeps the others until one is answered.
MAX_STREAMS = 256
# gRPC cancels the calls that arrive while it tells the clients that it stops, and clients do not
# repeat a cancelled call. So they are refused first, for so long, and sent again after twice that.
REFUSE_S = 0.2

_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class GrpcServer:
    """Serves the Open Inference Protocol over gRPC, without encryption.

    Several processes can listen on the same port (SO_REUSEPORT): the kernel spreads connections
    over them.

    Attributes:
        port: the port that it listens on, once it has started.
    """

    def __init__(
        self,
        model_server: ModelServer,
        administer: Administer,
        pending: PendingBytes,
        folder: Path | None = None,
    ) -> None:
        """Prepares a server; create it on the event loop.

        Args:
            model_server: classifies the pictures; its settings name host and port.
            administer: changes the models.
            pending: counts the bytes of requests that wait, of all protocols of this process.
            folder: shared by all processes of the service; a rate limit needs it.
        """
        settings = model_server.settings
        assert settings.grpc_port is not None
        self.port = settings.grpc_port
        self._host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self._health = Health(model_server, {SERVICE})
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_concurrent_streams", MAX_STREAMS),
            ]
        )
        authenticator = Authenticator(settings, folder)
        methods = InferenceService(model_server, administer).methods(authenticator)
        self._calls = Calls(SERVICE, methods, model_server, pending)
        self._server.add_generic_rpc_handlers((self._calls,))
        add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, _HEALTH, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self) -> None:
        """Starts to accept connections.

        Raises:
            StartupError: the port cannot be used.
        """
        try:
            self.port = self._server.add_insecure_port(f"{self._host}:{self.port}")
        except RuntimeError as error:
            raise StartupError(f"Port {self.port} for gRPC cannot be used: {error}") from error
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Accepts no more calls, and answers those that have begun within `grace_s` seconds.

        The server tells each client on its connections (GOAWAY); clients send further calls on new
        ones.
        """
        self._health.stop()
        self._calls.refuse_for_s = 2 * REFUSE_S
        await asyncio.sleep(min(REFUSE_S, grace_s))
        await self._server.stop(max(0, grace_s - REFUSE_S))
