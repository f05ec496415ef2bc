"""Decides when a worker is started, replaced and ended, and when the service ends.

The caller of a `Lifecycle` reports events and the time. The `Lifecycle` then starts workers, sends
them messages, and kills them.
"""

import logging
from collections.abc import Callable

from service.inference.served_model import LOAD_ALL
from service.process import messages
from service.process.messages import Files
from service.process.rollout import Rollout
from service.process.system import describe_exit
from service.process.worker_pool import Member, Slot, WorkerPool

# How long requests in flight may take when the service stops.
GRACE_S = 20
# How long a worker may take to exit after that, and in all when it is replaced.
EXIT_S = 5
# A worker that has served this long did not fail because of how it was started.
STABLE_S = 60
# After this many failed starts in a row the service ends, if no worker has ever served.
MAX_FAILED_STARTS = 3
# The most time that passes between two events, unless all processes were paused.
MAX_STEP_S = 2.5

logger = logging.getLogger(__name__)

# Starts the worker of a slot, or raises OSError.
StartWorker = Callable[[Slot], Member]


class Lifecycle:
    """Keeps one worker running in each slot, until the service is told to stop.

    Attributes:
        now: its clock, in seconds; it stands still while the machine or the container is paused.
        pool: the workers.
        failure: why the service ends, unless it was told to stop.
        clean: whether all workers have exited with 0 since it was told to stop.
    """

    def __init__(
        self,
        size: int,
        start_worker: StartWorker,
        close_listeners: Callable[[], None],
        *,
        drain_s: float,
        stuck_s: float,
    ) -> None:
        """Starts nothing before the first `advance`.

        Args:
            size: number of workers.
            start_worker: starts the worker of a slot.
            close_listeners: lets no new connection begin.
            drain_s: how long the service reports that it is not ready before it stops.
            stuck_s: how long a worker may be silent.
        """
        self.now = 0.0
        self.pool = WorkerPool(size)
        self.failure: str | None = None
        self.clean = True
        self._rollout = Rollout(self)
        self._start_worker = start_worker
        self._close_listeners = close_listeners
        self._drain_s = drain_s
        self._stuck_s = stuck_s
        self._real: float | None = None
        self._has_served = False
        self._announced = False
        self._missing: str | None = None
        self._stop_at: float | None = None
        self._kill_at: float | None = None

    @property
    def ready(self) -> list[Member]:
        """The workers that serve."""
        return self.pool.ready

    @property
    def stopping(self) -> bool:
        """Whether the workers were told to stop."""
        return self._kill_at is not None

    @property
    def ended(self) -> bool:
        """Whether the service was told to stop, and all workers have ended."""
        return self.stopping and not self.pool.workers

    @property
    def _draining(self) -> bool:
        return self._stop_at is not None or self.stopping

    # What happens

    def advance(self, now: float) -> None:
        """Does what is due at this time of a monotonic clock; call it twice a second or more."""
        if self._real is not None:
            self.now += min(now - self._real, MAX_STEP_S)
        self._real = now
        for worker in self.pool.workers:
            self._check_worker(worker)
        if self._kill_at is not None:
            if self.now > self._kill_at:
                logger.error("killing workers: the grace period is over")
                self.pool.kill()
                self._kill_at = self.now + EXIT_S
        elif self._stop_at is not None:
            if self.now > self._stop_at:
                self._stop()
        else:
            for slot in self.pool.slots:
                # A start that fails may end the service.
                if slot.worker is None and self.now >= slot.start_at and not self.stopping:
                    self._start(slot)
            self._rollout.check_deadlines()

    def on_message(self, worker: Member, message: messages.ToSupervisor, files: Files = ()) -> None:
        """Handles a message of a worker."""
        worker.heard_at, worker.may_be_silent_s = self.now, self._stuck_s
        match message:
            case messages.Ask(request, change):
                self._rollout.ask(
                    change, lambda outcome: worker.send(messages.Done(request, outcome))
                )
            case _ if self.stopping or worker.kill_at is not None:
                pass
            case messages.Heartbeat(fault):
                if fault:
                    self._retire(worker, fault)
                elif not worker.has_joined:
                    worker.has_joined = True
                    self._rollout.join(worker)
                    self._assign_listeners()
            case _:
                self._rollout.on_reply(worker, message, files)
                if isinstance(message, messages.Committed) and not self._announced:
                    self._announce(worker)

    def on_exit(self, worker: Member, code: int | None) -> None:
        """Handles the end of a worker, all of whose messages have been handled."""
        slot = self.pool.remove(worker)
        self.clean = self.clean and (code == 0 or not self._draining)
        if self.stopping:
            return
        if worker.ready_at is not None and self.now - worker.ready_at > STABLE_S:
            slot.failures = 0
        reason = worker.reason or describe_exit(code)
        self._replace_later(slot, reason, starting=worker.ready_at is None)
        self._rollout.leave(worker)
        self._assign_listeners()

    def reload(self) -> None:
        """Reads all models again, unless the service is about to stop."""
        if not self._draining:
            self._rollout.ask(LOAD_ALL, lambda _outcome: None)

    def on_terminal_closed(self) -> None:
        """The terminal was closed: stops, unless the service is about to."""
        if not self._draining:
            self._drain(0)

    def terminate(self) -> None:
        """Drains for a while, then stops; the next time stops at once, and then kills."""
        self._end(self._drain_s)

    def interrupt(self) -> None:
        """Stops; the next time kills."""
        self._end(0)

    # What the rollout decides

    def on_serving(self, worker: Member) -> None:
        """A worker was told to serve."""
        worker.ready_at = self.now
        self._has_served = True
        if len(self.ready) == len(self.pool.slots):
            self._missing = None
        self.on_change_end()
        self._assign_listeners()

    def on_not_built(self, worker: Member, reason: str, *, refused: bool) -> None:
        """A worker that starts has nothing to serve."""
        if refused and not self._has_served:  # all others would be refused as well
            self._fail(reason)
        else:
            self._retire(worker, reason)

    def on_change_end(self) -> None:
        """Shows a missing worker and a failed change of models in /health."""
        warnings = filter(None, [self._missing, self._rollout.warning])
        self.pool.broadcast(messages.Warn(" ".join(warnings) or None))

    # What it does

    def _start(self, slot: Slot) -> None:
        try:
            slot.worker = self._start_worker(slot)
        except OSError as error:
            self._replace_later(slot, f"It could not be started: {error.strerror}.")

    def _check_worker(self, worker: Member) -> None:
        silence = self.now - worker.heard_at
        if silence > worker.may_be_silent_s and not self.stopping:
            worker.reason = f"It was silent for {silence:.0f} s."
            worker.heard_at = self.now
            worker.kill()
        elif worker.kill_at is not None and self.now > worker.kill_at:
            worker.kill()

    def _announce(self, worker: Member) -> None:
        self._announced = True
        if present := self._rollout.present:
            models = [f"{served.model}/{served.version}" for served in present.manifest.models]
            logger.info("ready", extra={"fields": {"models": models, "pid": worker.pid}})

    def _retire(self, worker: Member, reason: str) -> None:
        """Tells a worker with a fault to exit; others take over its listener at once."""
        worker.reason, worker.kill_at = reason, self.now + EXIT_S
        self._rollout.leave(worker)
        self._assign_listeners()
        worker.send(messages.Stop())

    def _replace_later(self, slot: Slot, reason: str, *, starting: bool = True) -> None:
        """Schedules a new worker for a slot."""
        slot.add_failure(self.now)
        if starting and slot.failures >= MAX_FAILED_STARTS and not self.ready:
            if not self._has_served:
                self._fail(f"the workers end while they start. {reason}")
                return
            self._rollout.alternate_source()
        fields = {"why": reason, "next_in_s": slot.start_at - self.now}
        logger.error("worker ended", extra={"fields": fields})
        self._missing = f"A worker is missing. {reason}"
        self.on_change_end()

    def _assign_listeners(self) -> None:
        # The worker that will serve first is the only one that may say that the model is loading:
        # after the first answer that the service is ready no other one may.
        if not self.stopping:
            self.pool.assign_listeners(None if self._has_served else self._rollout.leader)

    def _end(self, drain_s: float) -> None:
        if self.stopping:
            logger.warning("killing workers: told to stop again")
            self.pool.kill()
        elif self._stop_at is not None:
            self._stop()
        else:
            self._drain(drain_s)

    def _drain(self, seconds: float) -> None:
        """Reports that the service is not ready any more, and stops it after a while."""
        self._rollout.close()
        if not seconds or not self.ready:
            self._stop()
            return
        logger.info("draining", extra={"fields": {"seconds": seconds}})
        self._stop_at = self.now + seconds
        self.pool.broadcast(messages.Drain())

    def _stop(self) -> None:
        """Accepts no new connections; each worker exits when it has answered its requests."""
        self._kill_at = self.now + GRACE_S + EXIT_S
        self._close_listeners()
        self.pool.broadcast(messages.Stop())

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self._rollout.close()
        self._stop()
