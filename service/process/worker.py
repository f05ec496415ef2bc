"""A worker process: one event loop that does HTTP, and threads that decode and compute."""

import asyncio
import contextlib
import functools
import gc
import itertools
import logging
import os
import socket
import warnings
from collections.abc import Coroutine, Sequence
from multiprocessing.connection import Connection

import uvicorn

from service.errors import LoadFailedError, StartupError
from service.hardware import return_freed_memory, use_batch_scheduling
from service.http.app import create_app
from service.http.protocol import BoundedProtocol
from service.inference.model_server import ModelServer, load_classifier
from service.inference.served_model import Administration
from service.observability.logging import configure, flush
from service.observability.metrics import reserve_files
from service.process.file_lock import FileLock
from service.process.messages import (
    Ask,
    Commit,
    Done,
    Drain,
    Drop,
    Failed,
    Heartbeat,
    Listen,
    Prepare,
    Ready,
    Reply,
    Start,
    Stop,
    ToSupervisor,
    ToWorker,
    Unload,
    Warn,
)
from service.process.sockets import accept_all
from service.process.supervisor import GRACE_S

# How long a new connection may take to begin with a request, once the service ends.
_LINGER_S = 1
# Longer than proxies keep a connection (mostly 60 s): else one could close it on their request.
_KEEP_ALIVE_S = 75
# Python would look for garbage after 700 new objects, which is every few requests.
_GARBAGE = 100_000
# Lines of the log that wait for the next of uvicorn's ticks.
_LINES = 1000
_TICK_S = 0.05
_TICKS_A_BEAT = 10  # of uvicorn's ticks, which are tenths of a second

logger = logging.getLogger(__name__)


def run(start: Start, connection: Connection) -> None:
    """Serves until the supervisor says stop, or is gone.

    Args:
        start: what the worker is given.
        connection: the worker's end of the pipe to the supervisor.
    """
    settings, folder = start.settings, start.folder
    return_freed_memory()
    use_batch_scheduling()
    # Pillow warns of odd pictures, which is the sender's business: the answer says what counts.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    configure(settings.log_level, settings.log_format, may_wait=_LINES)
    try:
        reserve_files()
    except OSError as error:
        connection.send(Heartbeat(f"There is no room for its temporary files: {error.strerror}."))
        return
    large = FileLock(folder / "large", settings.deadline_ms / 1000)
    app = create_app(settings, functools.partial(load_classifier, large=large), folder)
    model_server: ModelServer = app.state.model_server
    model_server.started_at = start.started_at
    model_server.first_version = start.version
    if start.replaces:
        model_server.metrics.count_restart()
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    worker = Worker(config, model_server, start.listeners, connection)
    app.state.administer = worker.administer
    # What was imported stays: to look through it for garbage would hold up the event loop.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE)
    worker.run()
    if model_server.fault:
        flush()
        os._exit(1)  # a thread that is stuck would be in the way of an orderly end


class Worker(uvicorn.Server):
    """Does what the supervisor says, and tells it how it is."""

    def __init__(
        self,
        config: uvicorn.Config,
        model_server: ModelServer,
        listeners: Sequence[socket.socket],
        connection: Connection,
    ) -> None:
        """Does nothing yet; see `run`."""
        super().__init__(config)
        self._model_server = model_server
        self._listeners = listeners
        self._connection = connection
        self._open: dict[int, asyncio.Server] = {}
        self._messages: asyncio.Queue[ToWorker] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: dict[int, asyncio.Future[str | None]] = {}
        self._numbers = itertools.count()
        self._introduced = False

    async def administer(self, what: Administration) -> None:
        """Has all workers load or unload the model.

        Raises:
            LoadFailedError: none has changed.
        """
        number = next(self._numbers)
        done = self._asked[number] = asyncio.get_running_loop().create_future()
        self._send(Ask(number, what))
        if reason := await done:
            raise LoadFailedError(reason)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen to the supervisor; it says which sockets to listen to."""
        await super().startup(sockets or [])
        for listener in self._listeners:
            listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._connection.fileno(), self._receive)
        self._spawn(self._obey())

    async def on_tick(self, counter: int) -> bool:
        """Tells the supervisor how the worker is; returns whether it is to end."""
        flush()
        model_server = self._model_server
        if counter % _TICKS_A_BEAT == 0:
            self._send(Heartbeat(model_server.fault))
        if not self._introduced and model_server.failure:
            self._introduced = self.should_exit = True
            self._send(Failed(str(model_server.failure)))
        elif not self._introduced and model_server.served:
            self._introduced = True
            gc.freeze()  # all that was imported stays: no need to look through it ever again
            self._send(Ready(model_server.served))
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes the connections that wait, answers all requests, and ends."""
        self._close_connections_once_answered()
        waiting = []
        for number, server in self._open.items():
            server.close()
            waiting.extend(accept_all(self._listeners[number]))
        for listener in self._listeners:
            listener.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection)
        deadline = loop.time() + _LINGER_S
        await asyncio.sleep(_TICK_S)  # requests may be there that have not been read yet
        while self._is_asked_soon() and loop.time() < deadline:
            await asyncio.sleep(_TICK_S)
        await super().shutdown(sockets)

    def _receive(self) -> None:
        try:
            self._messages.put_nowait(self._connection.recv())
        except (EOFError, OSError):  # the supervisor is gone: nobody is to outlive it
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self.should_exit = True

    async def _obey(self) -> None:
        while True:
            match await self._messages.get():
                case Listen(sockets):
                    await self._listen(sockets)
                case Prepare(change):
                    self._spawn(self._prepare(change))
                case Commit(change):
                    self._model_server.commit()
                    self._send(Reply(change))
                case Unload(change):
                    self._model_server.unload()
                    self._send(Reply(change))
                case Drop():
                    self._model_server.drop()
                case Warn(warning):
                    self._model_server.warning = warning
                case Done(request, reason):
                    self._asked.pop(request).set_result(reason)
                case Drain():
                    self._model_server.draining = True
                    self._close_connections_once_answered()
                case Stop():
                    self._model_server.draining = True
                    self.should_exit = True

    async def _listen(self, wanted: frozenset[int]) -> None:
        """Accepts connections from some of the listening sockets, and from no others."""
        for number in wanted - self._open.keys():
            self._open[number] = await asyncio.get_running_loop().create_server(
                self._protocol, sock=self._listeners[number].dup(), backlog=self.config.backlog
            )
        for number in self._open.keys() - wanted:
            self._open.pop(number).close()

    async def _prepare(self, change: int) -> None:
        try:
            reply = Reply(change, await self._model_server.prepare())
        except StartupError as error:
            reply = Reply(change, reason=str(error))
        except Exception as error:
            logger.exception("mistake")
            reply = Reply(change, reason=f"It failed, see the log: {type(error).__name__}.")
        self._send(reply)

    def _is_asked_soon(self) -> bool:
        """Whether a connection is there on which no request has come yet."""
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

    def _send(self, message: ToSupervisor) -> None:
        with contextlib.suppress(OSError):  # it is gone: `_receive` notices that
            self._connection.send(message)

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)  # the loop itself keeps no hold of it
        task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("mistake", exc_info=error)
            self.should_exit = True  # it may be deaf now: another is to take its place
