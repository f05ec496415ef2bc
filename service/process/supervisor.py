"""The parent process: starts the workers, replaces dead and stuck ones, and stops them in order.

It loads no model and handles no HTTP, so it can rarely fail. `lifecycle` and `rollout` decide what
it does; this module handles processes, pipes and signals.
"""

import contextlib
import signal
import socket
import sys
import time
from collections.abc import Sequence
from multiprocessing import util
from multiprocessing.connection import Connection, wait
from pathlib import Path

from service.inference.memory_file import SealedFile
from service.process.lifecycle import GRACE_S, Lifecycle
from service.process.messages import Start, receive
from service.process.sockets import close_listeners
from service.process.system import raise_open_file_limit, received_signals, temporary_folder
from service.process.worker_pool import RunWorker, Slot, WorkerProcess
from service.settings import Settings

_TICK_S = 0.5


class Supervisor:
    """Keeps one worker running for each listener."""

    def __init__(
        self, settings: Settings, listeners: Sequence[socket.socket], run_worker: RunWorker
    ) -> None:
        """Starts nothing yet.

        Args:
            settings: the settings.
            listeners: a listening socket for each worker, all of one address; `run` closes them.
            run_worker: what each worker process runs; it must be importable by name.
        """
        self.failure: str | None = None  # why the service ended without a request to stop
        self._settings = settings
        self._listeners = listeners
        self._run_worker = run_worker
        self._workers: dict[WorkerProcess, int] = {}  # with the number of the slot of each
        self._lifecycle = Lifecycle(
            len(listeners),
            self._start,
            lambda: close_listeners(listeners),
            drain_s=settings.drain_s,
            stuck_s=settings.stuck_s,
        )
        self._started_at = time.monotonic()
        self._on_terminal = sys.stderr.isatty()
        self._folder = Path()

    def run(self) -> int:
        """Serves until told to stop.

        Returns:
            Exit status: 0 if all workers exited with 0, else 1; see `failure`.
        """
        lifecycle = self._lifecycle
        with contextlib.ExitStack() as stack:
            stack.callback(close_listeners, self._listeners)
            try:
                self._folder = stack.enter_context(temporary_folder(len(self._listeners)))
            except OSError as error:
                self.failure = f"cannot use a folder for temporary files: {error.strerror}"
                return 1
            raise_open_file_limit()
            signals = stack.enter_context(received_signals())
            stack.callback(lifecycle.pool.kill)
            while not lifecycle.ended:
                lifecycle.advance(time.monotonic())
                self._wait(signals)
        self.failure = lifecycle.failure
        return 0 if lifecycle.clean and not self.failure else 1

    def _start(self, slot: Slot) -> WorkerProcess:
        start = Start(
            self._settings,
            self._listeners,
            self._folder,
            self._started_at,
            GRACE_S,
            slot.number,
            replaces=slot.failures > 0,
        )
        worker = WorkerProcess.start(self._run_worker, start, self._lifecycle.now)
        self._workers[worker] = slot.number
        return worker

    def _wait(self, signals: Connection) -> None:
        """Waits for signals, messages and ended workers, and handles them."""
        connections = {
            worker.connection: worker for worker in self._workers if not worker.disconnected
        }
        sentinels = {worker.process.sentinel: worker for worker in self._workers}
        happened = wait([signals, *connections, *sentinels], _TICK_S)
        self._lifecycle.advance(time.monotonic())
        for source in happened:
            if source is signals:
                self._on_signal(signals.recv())
            elif isinstance(source, Connection):
                self._receive(connections[source])
        for source in happened:
            if isinstance(source, int):
                self._on_exit(sentinels[source])

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGTERM:
            self._lifecycle.terminate()
        elif number == signal.SIGINT:
            self._lifecycle.interrupt()
        elif self._on_terminal == sys.stderr.isatty():
            self._lifecycle.reload()
        else:  # SIGHUP is also sent when the terminal is closed
            self._lifecycle.on_terminal_closed()

    def _receive(self, worker: WorkerProcess) -> None:
        try:
            message, files = receive(worker.connection)
        except (EOFError, OSError) as error:
            worker.disconnected = True
            if isinstance(error, BlockingIOError):  # it was stopped while it sent a message
                worker.kill()
        else:
            for file in files:  # else a worker that is forked keeps it for as long as it lives
                util.register_after_fork(file, SealedFile.close)
            self._lifecycle.on_message(worker, message, files)

    def _on_exit(self, worker: WorkerProcess) -> None:
        while not worker.disconnected and worker.connection.poll():
            self._receive(worker)
        worker.connection.close()
        worker.process.join()
        number = self._workers.pop(worker)
        if not self._lifecycle.stopping:
            # Imported late: it must not be before PROMETHEUS_MULTIPROC_DIR is set.
            from service.observability.metric_files import forget_gauges

            forget_gauges(number)
        self._lifecycle.on_exit(worker, worker.process.exitcode)
