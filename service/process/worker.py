"""A worker process: one event loop that handles HTTP, and threads that decode and compute."""

import asyncio
import contextlib
import gc
import itertools
import logging
import os
import socket
import warnings
from collections.abc import Coroutine, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from service.admission.pending_bytes import PendingBytes
from service.errors import LoadFailedError, NotReadyError, StartupError
from service.http.app import create_app
from service.http.protocol import BoundedProtocol
from service.inference.memory_file import SealedFile
from service.inference.model_server import ModelServer
from service.inference.served_model import Change, Manifest
from service.inference.snapshot import Handover
from service.observability.logging import configure, flush
from service.observability.metric_files import share_metrics
from service.process import messages
from service.process.accepting import Acceptor
from service.process.file_lock import FileLock
from service.process.sockets import accept_all
from service.process.system import return_freed_memory, use_batch_scheduling

# How long a new connection may take to send its first request once the service stops.
_LINGER_S = 1
_POLL_S = 0.05
# Longer than proxies keep idle connections (mostly 60 s), or a request could meet a closed one.
_KEEP_ALIVE_S = 75
# By default Python collects garbage after 700 new objects, which is every few requests.
_GC_THRESHOLD = 100_000
# Lines of the log that are kept until the next of uvicorn's ticks.
_LOG_LINES = 1000
# Of uvicorn's ticks, which are tenths of a second.
_TICKS_PER_HEARTBEAT = 10

if TYPE_CHECKING:
    from service.grpc.server import GrpcServer

logger = logging.getLogger(__name__)


def run(start: messages.Start, connection: Connection) -> None:
    """Serves until the supervisor, at the other end of the connection, sends `Stop` or ends."""
    settings, folder = start.settings, start.folder
    return_freed_memory()
    use_batch_scheduling()
    # Pillow warns of unusual pictures; what matters to the sender is in the answer.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    configure(settings.log_level, settings.log_format, capacity=_LOG_LINES)
    try:
        share_metrics(start.slot)
        huge = FileLock(folder / "huge")
    except OSError as error:
        fault = f"There is no room for its temporary files: {error.strerror}."
        messages.send(connection, messages.Heartbeat(fault))
        return
    model_server = ModelServer(settings, huge=huge)
    model_server.started_at = start.started_at
    if start.replaces:
        model_server.metrics.count_restart()
    app = create_app(settings, model_server, folder, load=False)
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        # Only a proxy on this machine can open the Unix socket.
        forwarded_allow_ips="*" if settings.uds else None,
        timeout_graceful_shutdown=start.grace_s,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    worker = Worker(config, model_server, start.listeners, connection, folder)
    app.state.administer = worker.administer
    # Imported modules are never freed, and examining them would delay the event loop.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    worker.run()
    if model_server.fault:
        flush()
        os._exit(1)  # a normal exit would wait for a stuck thread


class Worker(uvicorn.Server):
    """Follows the messages of the supervisor, and reports to it."""

    def __init__(
        self,
        config: uvicorn.Config,
        model_server: ModelServer,
        listeners: Sequence[socket.socket],
        connection: Connection,
        folder: Path,
    ) -> None:
        """Prepares a server; `run` starts it."""
        super().__init__(config)
        self._model_server = model_server
        self._listeners = listeners
        self._connection = connection
        self._folder = folder
        self._open: dict[int, Acceptor] = {}
        self._messages: asyncio.Queue[tuple[messages.ToWorker, list[SealedFile]]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests: dict[int, asyncio.Future[messages.Outcome]] = {}
        self._numbers = itertools.count()
        self._grpc: GrpcServer | None = None

    async def administer(self, change: Change) -> str | None:
        """Asks the supervisor to load or unload models in all workers.

        Returns:
            How a model that was loaded differs from the one before, if it does.

        Raises:
            LoadFailedError: a model that was to be loaded cannot be; it has the versions of before.
            NotReadyError: the same, for a reason that passes.
        """
        number = next(self._numbers)
        done: asyncio.Future[messages.Outcome] = asyncio.get_running_loop().create_future()
        self._requests[number] = done
        self._send(messages.Ask(number, change))
        outcome = await done
        if outcome.reason:
            raise (NotReadyError if outcome.transient else LoadFailedError)(outcome.reason)
        return outcome.note

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to receive messages; the supervisor sends which listeners to accept from."""
        await super().startup(sockets or [])
        for listener in self._listeners:
            listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._connection.fileno(), self._receive)
        # uvloop has changed that, and a message arrives in parts.
        os.set_blocking(self._connection.fileno(), True)
        if self._model_server.settings.grpc_port is not None:
            # Imported late: it is an extra.
            from service.grpc.server import GrpcServer

            pending: PendingBytes = self.config.app.state.pending_bytes  # type: ignore[union-attr]
            self._grpc = GrpcServer(self._model_server, self.administer, pending, self._folder)
        self._spawn(self._handle_messages())

    async def on_tick(self, counter: int) -> bool:
        """Reports to the supervisor; returns whether the worker must exit."""
        flush()
        # A supervisor that is paused must not stop the requests as well.
        if counter % _TICKS_PER_HEARTBEAT == 0 and messages.is_read(self._connection):
            self._send(messages.Heartbeat(self._model_server.fault))
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts the connections that wait, answers all requests, and ends."""
        self._close_connections_once_answered()
        grace_s = self.config.timeout_graceful_shutdown or 0
        calls = asyncio.create_task(self._grpc.stop(grace_s)) if self._grpc else None
        waiting = []
        for number, acceptor in self._open.items():
            acceptor.close()
            waiting.extend(accept_all(self._listeners[number]))
        for listener in self._listeners:
            listener.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection)
        deadline = loop.time() + _LINGER_S
        await asyncio.sleep(_POLL_S)  # requests may have arrived that have not been read yet
        while self._awaits_request() and loop.time() < deadline:
            await asyncio.sleep(_POLL_S)
        if calls:
            await calls
        await super().shutdown(sockets)
        if self._model_server.repository.busy:  # a normal exit would wait for it, maybe for ever
            flush()
            os._exit(1 if self._model_server.fault else 0)

    def _receive(self) -> None:
        try:
            self._messages.put_nowait(messages.receive(self._connection))
        except (EOFError, OSError) as error:  # the supervisor has ended: its workers end, too
            if not isinstance(error, EOFError | ConnectionError):
                logger.error("cannot read messages", extra={"fields": {"why": str(error)}})
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self.should_exit = True

    async def _handle_messages(self) -> None:
        while True:
            message, files = await self._messages.get()
            match message:
                case messages.Listen(listeners):
                    self._listen(listeners)
                case messages.Build(number, order):
                    self._spawn(self._build(number, order, files))
                case messages.Commit(number):
                    await self._commit(number)
                case messages.Drop():
                    self._model_server.drop()
                case messages.Warn(warning):
                    self._model_server.warning = warning
                case messages.Done(request, outcome):
                    future = self._requests.pop(request)
                    if not future.done():  # its request was cancelled
                        future.set_result(outcome)
                case messages.Drain():
                    self._model_server.draining = True
                    self._close_connections_once_answered()
                case messages.Stop():
                    self._model_server.draining = True
                    self.should_exit = True

    def _listen(self, wanted: frozenset[int]) -> None:
        """Accepts connections from these listeners and from no others."""
        for number in wanted - self._open.keys():
            self._open[number] = Acceptor(self._listeners[number], self._protocol)
        for number in self._open.keys() - wanted:
            self._open.pop(number).close()

    async def _build(
        self, number: int, order: Change | Manifest, files: Sequence[SealedFile]
    ) -> None:
        given = Handover(order, files) if isinstance(order, Manifest) else order
        try:
            snapshot = await self._model_server.prepare(given)
        except StartupError as error:
            self._send(messages.NotBuilt(number, str(error), refused=True))
        except Exception as error:
            logger.exception("unhandled error")
            reason = f"It failed, see the log: {type(error).__name__}."
            self._send(messages.NotBuilt(number, reason, refused=False))
        else:
            built = messages.Built(number, snapshot.manifest)
            self._send(built, () if isinstance(order, Manifest) else snapshot.files)

    async def _commit(self, number: int) -> None:
        is_first = self._model_server.snapshot is None
        if is_first and self._grpc:
            await self._grpc.start()  # a client that reads that the service is ready may call it
        self._model_server.commit()
        self._send(messages.Committed(number))
        if is_first:
            gc.freeze()  # with the modules that were imported to load the models

    def _awaits_request(self) -> bool:
        """Whether there is a connection that has not sent a request yet."""
        return any(
            isinstance(connection, BoundedProtocol) and connection.cycle is None
            for connection in self.server_state.connections
        )

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def _close_connections_once_answered(self) -> None:
        header = (b"connection", b"close")
        if header not in self.config.encoded_headers:
            self.config.encoded_headers.append(header)
            self.server_state.default_headers = [*self.server_state.default_headers, header]

    def _send(self, message: messages.ToSupervisor, files: messages.Files = ()) -> None:
        with contextlib.suppress(OSError):  # the supervisor has ended; see `_receive`
            messages.send(self._connection, message, files)

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)  # the event loop keeps only a weak reference
        task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("unhandled error", exc_info=error)
            self.should_exit = True  # it may handle no more messages: the supervisor replaces it
