"""The parent process: starts the workers, replaces dead and stuck ones, and stops them in order.

It loads no model and handles no HTTP, so that it has few ways to fail.
"""

import contextlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

from service.inference.served_model import ServedModel
from service.process import messages
from service.process.rollout import Rollout
from service.process.sockets import close_listeners
from service.process.system import (
    describe_exit,
    raise_open_file_limit,
    received_signals,
    temporary_folder,
)
from service.process.worker_pool import RunWorker, Slot, WorkerPool, WorkerProcess
from service.settings import Settings

# How long requests in flight may take when the service stops.
GRACE_S = 20
# How long a worker may take to exit after that, and in all when it is replaced.
EXIT_S = 5
# A worker that has served this long did not fail because of how it was started.
STABLE_S = 60
# The service ends after this many failed starts in a row, if no worker serves.
MAX_FAILED_STARTS = 3
_TICK_S = 0.5

logger = logging.getLogger(__name__)


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
        self.failure: str | None = None  # why the service ended, unless it was told to stop
        self._settings = settings
        self._listeners = listeners
        self._run_worker = run_worker
        self._pool = WorkerPool(len(listeners))
        self._started_at = self._now = time.monotonic()
        self._on_terminal = sys.stderr.isatty()
        self._folder = Path()
        self._rollout = Rollout(lambda: self._pool.ready, self._update_warning)
        self._has_served = False
        self._missing: str | None = None
        self._stop_at: float | None = None
        self._kill_at: float | None = None
        self._clean = True

    def run(self) -> int:
        """Serves until told to stop.

        Returns:
            Exit status: 0 if all workers exited with 0, else 1; see `failure`.
        """
        with contextlib.ExitStack() as stack:
            stack.callback(close_listeners, self._listeners)
            try:
                self._folder = stack.enter_context(temporary_folder(len(self._listeners)))
            except OSError as error:
                self.failure = f"cannot use a folder for temporary files: {error.strerror}"
                return 1
            raise_open_file_limit()
            signals = stack.enter_context(received_signals())
            stack.callback(self._pool.kill)
            while self._pool.workers or not self._stopping:
                self._check_deadlines()
                self._wait(signals)
        return 0 if self._clean and not self.failure else 1

    @property
    def _stopping(self) -> bool:
        return self._kill_at is not None

    def _wait(self, signals: Connection) -> None:
        """Waits for signals, messages and ended workers, and handles them."""
        connections = {
            worker.connection: worker for worker in self._pool.workers if not worker.disconnected
        }
        sentinels = {worker.process.sentinel: worker for worker in self._pool.workers}
        before = time.monotonic()
        happened = wait([signals, *connections, *sentinels], _TICK_S)
        self._now = time.monotonic()
        if self._now - before > _TICK_S + 2:
            # The container or the machine was paused, and the workers with it.
            for worker in self._pool.workers:
                worker.heard_at = self._now
        for source in happened:
            if source is signals:
                self._on_signal(signals.recv())
            elif isinstance(source, Connection):
                self._receive(connections[source])
        for source in happened:
            if isinstance(source, int):
                self._on_exit(sentinels[source])

    def _check_deadlines(self) -> None:
        self._now = time.monotonic()
        for worker in self._pool.workers:
            silence = self._now - worker.heard_at
            if silence > worker.may_be_silent_s and not self._stopping:
                worker.reason = f"It was silent for {silence:.0f} s."
                worker.heard_at = self._now
                worker.kill()
            elif worker.kill_at and self._now > worker.kill_at:
                worker.kill()
        if self._kill_at is not None:
            if self._now > self._kill_at:
                logger.error("killing workers: the grace period is over")
                self._pool.kill()
        elif self._stop_at is not None:
            if self._now > self._stop_at:
                self._stop()
        else:
            for slot in self._pool.slots:
                if slot.worker is None and self._now >= slot.start_at:
                    self._start(slot)
            self._rollout.check_deadlines()

    def _on_signal(self, number: int) -> None:
        if self._stopping:
            logger.warning("killing workers: told to stop again")
            self._pool.kill()
        elif self._stop_at is not None:
            self._stop()
        elif number == signal.SIGHUP and self._on_terminal == sys.stderr.isatty():
            self._rollout.ask("load", lambda _reason: None)
        else:  # SIGHUP is also sent when the terminal is closed
            self._drain(self._settings.drain_s if number == signal.SIGTERM else 0)

    def _receive(self, worker: WorkerProcess) -> None:
        try:
            message: messages.ToSupervisor = worker.connection.recv()
        except (EOFError, OSError):
            worker.disconnected = True
            return
        worker.heard_at, worker.may_be_silent_s = self._now, self._settings.stuck_s
        match message:
            case messages.Heartbeat(fault):
                if fault and not worker.kill_at and not self._stopping:
                    self._retire(worker, fault)
            case messages.Ready(served):
                self._on_ready(worker, served)
            case messages.Failed(reason):
                worker.reason, worker.refused = reason, True
            case messages.Reply():
                self._rollout.on_reply(worker, message)
            case messages.Ask(request, what):
                self._rollout.ask(what, lambda reason: worker.send(messages.Done(request, reason)))

    def _start(self, slot: Slot) -> None:
        served = self._rollout.served
        start = messages.Start(
            self._settings,
            self._listeners,
            self._folder,
            self._started_at,
            GRACE_S,
            replaces=slot.failures > 0,
            version=int(served.version) if served else None,
        )
        try:
            slot.worker = WorkerProcess.start(self._run_worker, start, self._now)
        except OSError as error:
            self._replace_later(slot, f"It could not be started: {error.strerror}.")
        self._assign_listeners()

    def _on_ready(self, worker: WorkerProcess, served: ServedModel) -> None:
        rollout = self._rollout
        if self._pool.ready and rollout.served and not served.agrees_with(rollout.served):
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
        if rollout.unloaded:
            worker.send(messages.Unload(0))
        else:
            rollout.served = served
        if self._stop_at is not None:
            worker.send(messages.Drain())
        if len(self._pool.ready) == len(self._pool.slots):
            self._missing = None
        self._update_warning()
        self._assign_listeners()
        rollout.on_ready(worker)

    def _retire(self, worker: WorkerProcess, reason: str) -> None:
        """Tells a worker with a fault to exit; others take over its listener at once."""
        worker.reason, worker.kill_at = reason, self._now + EXIT_S
        self._assign_listeners()
        worker.send(messages.Stop())

    def _on_exit(self, worker: WorkerProcess) -> None:
        while not worker.disconnected and worker.connection.poll():
            self._receive(worker)
        worker.connection.close()
        worker.process.join()
        slot = self._pool.remove(worker)
        if self._stopping:
            self._clean = self._clean and worker.process.exitcode == 0
            return
        # Imported late: it must not be before PROMETHEUS_MULTIPROC_DIR is set.
        from service.observability.metrics import forget_process

        forget_process(worker.process.pid)
        if worker.ready_at and self._now - worker.ready_at > STABLE_S:
            slot.failures = 0
        reason = worker.reason or describe_exit(worker.process.exitcode)
        if worker.refused and not self._pool.ready:  # its replacement would be refused as well
            self._fail(reason)
            return
        self._replace_later(slot, reason, starting=worker.ready_at is None)
        self._rollout.on_death(worker)
        self._assign_listeners()

    def _replace_later(self, slot: Slot, reason: str, *, starting: bool = True) -> None:
        """Schedules a new worker for a slot."""
        slot.add_failure(self._now)
        if starting and slot.failures >= MAX_FAILED_STARTS and not self._pool.ready:
            self._fail(f"the workers end while they start. {reason}")
            return
        fields = {"why": reason, "next_in_s": slot.start_at - self._now}
        logger.error("worker ended", extra={"fields": fields})
        self._missing = f"A worker is missing. {reason}"
        self._update_warning()

    def _assign_listeners(self) -> None:
        if not self._stopping:
            self._pool.assign_listeners(starting=not self._has_served)

    def _update_warning(self) -> None:
        """Shows a missing worker and a failed change of model in /health."""
        warnings = filter(None, [self._missing, self._rollout.warning])
        self._pool.broadcast(messages.Warn(" ".join(warnings) or None))

    def _drain(self, seconds: float) -> None:
        """Reports that the service is not ready any more, and stops it after a while."""
        self._rollout.close()
        if not seconds or not self._pool.ready:
            self._stop()
            return
        logger.info("draining", extra={"fields": {"seconds": seconds}})
        self._stop_at = self._now + seconds
        self._pool.broadcast(messages.Drain())

    def _stop(self) -> None:
        """Accepts no new connections; each worker exits when it has answered its requests."""
        self._kill_at = self._now + GRACE_S + EXIT_S
        close_listeners(self._listeners)
        self._pool.broadcast(messages.Stop())

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self._rollout.close()
        self._stop()
