"""The parent process: starts the workers, replaces dead and stuck ones, and ends them in order.

It loads no model and knows no HTTP, so that it starts at once and has nothing to die of.
"""

import contextlib
import errno
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from service.hardware import raise_open_file_limit
from service.inference.served_model import ServedModel
from service.process.messages import (
    Ask,
    Done,
    Drain,
    Failed,
    Heartbeat,
    Listen,
    Ready,
    Reply,
    Start,
    Stop,
    ToSupervisor,
    ToWorker,
    Unload,
    Warn,
)
from service.process.rollout import Rollout
from service.process.sockets import refuse_new_connections
from service.settings import Settings

# How long requests in flight may go on when the service ends.
GRACE_S = 20
# How long the rest of a worker's end may take, and all of it when it is replaced.
END_S = 5
# How long a worker may be silent while it starts.
START_S = 120
# A worker that has served so long did not die of how it was started.
STABLE_S = 60
MAX_BACK_OFF_S = 30
# So often in a row the workers may die while they start, if none serves.
MAX_DEATHS_AT_START = 3
_TICK_S = 0.5
_WORKER_FILES_BYTES = 1_000_000
_REASONS = {
    signal.SIGKILL: ", as when memory is short",
    signal.SIGBUS: ", as when the disk with the temporary files is full",
}
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

RunWorker = Callable[[Start, Connection], None]

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Worker:
    """A process that serves, is about to, or was told to end by `kill_at`."""

    process: BaseProcess
    connection: Connection
    heard_at: float
    may_be_silent_s: float = START_S
    ready_at: float | None = None
    kill_at: float | None = None
    listens: frozenset[int] = frozenset()
    reason: str | None = None
    refused: bool = False
    disconnected: bool = False

    def send(self, message: ToWorker) -> None:
        with contextlib.suppress(OSError):  # it has died, which is noticed elsewhere
            self.connection.send(message)

    def kill(self) -> None:
        self.process.kill()


@dataclass(eq=False)
class _Slot:
    """A place for one worker, whose own listening socket has the same number."""

    worker: _Worker | None = None
    deaths: int = 0
    start_at: float = 0


class Supervisor:
    """Keeps as many workers running as there are listening sockets."""

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[socket.socket],
        run_worker: RunWorker | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            settings: the settings.
            listeners: a listening socket for each worker, all of one address.
            run_worker: the life of a worker, in a process of its own; by default one that serves.
        """
        self.failure: str | None = None
        self._settings = settings
        self._listeners = listeners
        self._run_worker = run_worker or _run_worker
        self._slots = [_Slot() for _ in listeners]
        self._started_at = self._now = time.monotonic()
        self._on_terminal = sys.stderr.isatty()
        self._folder = Path()
        self._changes = Rollout(lambda: self._ready, self._warn)
        self._has_served = False
        self._missing: str | None = None
        self._stop_at: float | None = None
        self._kill_at: float | None = None
        self._clean = True

    def run(self) -> int:
        """Serves until told to stop.

        Returns:
            Exit status: 0 if all workers ended well, else 1; see `failure`.
        """
        with contextlib.ExitStack() as stack:
            try:
                self._folder = stack.enter_context(_temporary_folder(len(self._slots)))
            except OSError as error:
                self.failure = f"cannot use a folder for temporary files: {error.strerror}"
                return 1
            raise_open_file_limit()
            # Started later, it would let signals through to the first worker.
            resource_tracker.ensure_running()
            signals = stack.enter_context(_signals())
            stack.callback(self._kill)
            while self._workers or not self._stopping:
                self._check_deadlines()
                self._wait(signals)
        return 0 if self._clean and not self.failure else 1

    @property
    def _workers(self) -> list[_Worker]:
        return [slot.worker for slot in self._slots if slot.worker]

    @property
    def _ready(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.ready_at and not worker.kill_at]

    @property
    def _stopping(self) -> bool:
        return self._kill_at is not None

    def _wait(self, signals: Connection) -> None:
        """Waits for whatever happens next, and sees to it."""
        connections = {
            worker.connection: worker for worker in self._workers if not worker.disconnected
        }
        sentinels = {worker.process.sentinel: worker for worker in self._workers}
        before = time.monotonic()
        happened = wait([signals, *connections, *sentinels], _TICK_S)
        self._now = time.monotonic()
        if self._now - before > _TICK_S + 2:
            # All of us were paused, by the container or the machine: nobody could say anything.
            for worker in self._workers:
                worker.heard_at = self._now
        for thing in happened:
            if thing is signals:
                self._on_signal(signals.recv())
            elif isinstance(thing, Connection):
                self._receive(connections[thing])
        for thing in happened:
            if isinstance(thing, int):
                self._on_death(sentinels[thing])

    def _check_deadlines(self) -> None:
        """Does what is due."""
        self._now = time.monotonic()
        for worker in self._workers:
            silence = self._now - worker.heard_at
            if silence > worker.may_be_silent_s and not self._stopping:
                worker.reason = f"It was silent for {silence:.0f} s."
                worker.heard_at = self._now
                worker.kill()
            elif worker.kill_at and self._now > worker.kill_at:
                worker.kill()
        if self._stopping:
            if self._kill_at and self._now > self._kill_at:
                logger.error("killing workers: the grace period is over")
                self._kill()
        elif self._stop_at is not None:
            if self._now > self._stop_at:
                self._stop()
        else:
            for slot in self._slots:
                if slot.worker is None and self._now >= slot.start_at:
                    self._start(slot)
            self._changes.check_deadlines()

    def _on_signal(self, number: int) -> None:
        if self._stopping:
            logger.warning("killing workers: told to stop again")
            self._kill()
        elif self._stop_at is not None:
            self._stop()
        elif number == signal.SIGHUP and not self._terminal_is_gone():
            self._changes.ask("load", lambda _reason: None)
        else:
            self._drain(self._settings.drain_s if number == signal.SIGTERM else 0)

    def _terminal_is_gone(self) -> bool:
        """Whether SIGHUP has its first meaning."""
        return self._on_terminal and not sys.stderr.isatty()

    def _receive(self, worker: _Worker) -> None:
        try:
            message: ToSupervisor = worker.connection.recv()
        except (EOFError, OSError):
            worker.disconnected = True
            return
        worker.heard_at, worker.may_be_silent_s = self._now, self._settings.stuck_s
        match message:
            case Heartbeat(fault):
                if fault and not worker.kill_at and not self._stopping:
                    self._retire(worker, fault)
            case Ready(served):
                self._on_ready(worker, served)
            case Failed(reason):
                worker.reason, worker.refused = reason, True
            case Reply():
                self._changes.on_reply(worker, message)
            case Ask(request, what):
                self._changes.ask(what, lambda reason: worker.send(Done(request, reason)))

    # The life of a worker

    def _start(self, slot: _Slot) -> None:
        context = get_context("spawn")
        connection, worker_connection = context.Pipe()
        served = self._changes.served
        start = Start(
            self._settings,
            self._listeners,
            self._folder,
            self._started_at,
            replaces=slot.deaths > 0,
            version=int(served.version) if served else None,
        )
        process = context.Process(target=self._run_worker, args=(start, worker_connection))
        # Workers obey their connection alone: Ctrl-C in a terminal goes to all processes in it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process.start()
        except OSError as error:
            connection.close()
            self._miss(slot, f"It could not be started: {error.strerror}.")
        else:
            slot.worker = _Worker(process, connection, self._now)
        finally:
            worker_connection.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._assign_listeners()

    def _on_ready(self, worker: _Worker, served: ServedModel) -> None:
        changes = self._changes
        if self._ready and changes.served and not served.agrees_with(changes.served):
            worker.reason = (
                f"The files of version {served.version} are no longer those that are served: "
                "load them to all workers."
            )
            worker.kill()
            return
        if not self._has_served:
            logger.info("ready", extra={"fields": {**served._asdict(), "pid": worker.process.pid}})
        self._has_served = True
        worker.ready_at = self._now
        if changes.unloaded:
            worker.send(Unload(0))
        else:
            changes.served = served
        if self._stop_at is not None:
            worker.send(Drain())
        if len(self._ready) == len(self._slots):
            self._missing = None
        self._warn()
        self._assign_listeners()
        changes.on_ready(worker)

    def _retire(self, worker: _Worker, reason: str) -> None:
        """Lets a worker end that cannot compute any more; others take over at once."""
        worker.reason, worker.kill_at = reason, self._now + END_S
        self._assign_listeners()
        worker.send(Stop())

    def _on_death(self, worker: _Worker) -> None:
        while not worker.disconnected and worker.connection.poll():
            self._receive(worker)  # its last words
        worker.connection.close()
        worker.process.join()
        slot = next(slot for slot in self._slots if slot.worker is worker)
        slot.worker = None
        if self._stopping:
            self._clean = self._clean and worker.process.exitcode == 0
            return
        _forget_gauges(worker.process.pid)
        if worker.ready_at and self._now - worker.ready_at > STABLE_S:
            slot.deaths = 0
        reason = worker.reason or _describe_end(worker.process.exitcode)
        if worker.refused and not self._ready:  # the next one would be refused, too
            self._fail(reason)
            return
        self._miss(slot, reason, starting=worker.ready_at is None)
        self._changes.on_death(worker)
        self._assign_listeners()

    def _miss(self, slot: _Slot, reason: str, *, starting: bool = True) -> None:
        """Sees to it that a worker is replaced: at once, or later if that happens again."""
        slot.deaths += 1
        slot.start_at = self._now + min(2 ** (slot.deaths - 1) - 1, MAX_BACK_OFF_S)
        if starting and slot.deaths >= MAX_DEATHS_AT_START and not self._ready:
            self._fail(f"the workers end while they start. {reason}")
            return
        fields = {"why": reason, "next_in_s": slot.start_at - self._now}
        logger.error("worker ended", extra={"fields": fields})
        self._missing = f"A worker is missing. {reason}"
        self._warn()

    def _assign_listeners(self) -> None:
        """Gives each listening socket to its own worker or, until that serves, to another."""
        if self._stopping:
            return
        serving = self._ready
        if not serving and not self._has_served:
            serving = self._workers[:1]  # to say that the model is loading; later on, one can wait
        shares: dict[_Worker, set[int]] = {worker: set() for worker in self._workers}
        for number, slot in enumerate(self._slots if serving else ()):
            own = slot.worker if slot.worker in serving else None
            shares[own or serving[number % len(serving)]].add(number)
        for worker, share in shares.items():
            if worker.listens != share:
                worker.listens = frozenset(share)
                worker.send(Listen(worker.listens))

    def _warn(self) -> None:
        """Shows in /health what is not as it should be."""
        warnings = filter(None, [self._missing, self._changes.warning])
        self._broadcast(Warn(" ".join(warnings) or None))

    def _broadcast(self, message: ToWorker) -> None:
        for worker in self._workers:
            worker.send(message)

    # The end

    def _drain(self, seconds: float) -> None:
        """Says that the service is not ready any more, and stops it after a while."""
        self._changes.close()
        if not seconds or not self._ready:
            self._stop()
            return
        logger.info("draining", extra={"fields": {"seconds": seconds}})
        self._stop_at = self._now + seconds
        self._broadcast(Drain())

    def _stop(self) -> None:
        """Takes no new connections; each worker ends when it has answered what it has."""
        self._kill_at = self._now + GRACE_S + END_S
        for listener in self._listeners:
            refuse_new_connections(listener)
            listener.close()
        self._broadcast(Stop())

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self._changes.close()
        self._stop()

    def _kill(self) -> None:
        for worker in self._workers:
            worker.kill()


@contextlib.contextmanager
def _temporary_folder(workers: int) -> Iterator[Path]:
    """A new folder for what the workers share, on a disk that is not full."""
    with tempfile.TemporaryDirectory(prefix="cifar10-serve-") as folder:
        # A full disk would end a worker by a signal, in the midst of its work.
        if shutil.disk_usage(folder).free < workers * _WORKER_FILES_BYTES:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {folder}")
        metrics = Path(folder) / "metrics"
        metrics.mkdir()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
        try:
            yield Path(folder)
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


@contextlib.contextmanager
def _signals() -> Iterator[Connection]:
    """Turns signals into messages, so that one can wait for them and for others at once."""
    inbox, outbox = get_context("spawn").Pipe(duplex=False)
    before = [signal.signal(which, lambda it, _frame: outbox.send(it)) for which in _SIGNALS]
    try:
        yield inbox
    finally:
        for which, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(which, handler)


def _describe_end(code: int | None) -> str:
    if code is None or code >= 0:
        return f"It ended with status {code}."
    number = signal.Signals(-code)
    return f"It was ended by {number.name}{_REASONS.get(number, '')}."


def _forget_gauges(pid: int | None) -> None:
    """Takes the gauges of a dead worker out of the metrics."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _run_worker(start: Start, connection: Connection) -> None:
    """Begins the life of a worker, in a process of its own, which imports what we do not."""
    # As it was when this process began: `multiprocessing` takes some of it back.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    from service.process.worker import run

    run(start, connection)
