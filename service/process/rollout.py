"""Keeps one snapshot in all workers: when a worker starts, and for a change in all of them or none.

A worker builds and serves snapshots on request. The first worker that starts reads the repository.
Later ones build the present snapshot from the same bytes. One worker builds a change first; all
others then build it from the bytes that the first one has read. When all have built the same, all
serve it. There is one change at a time.

This module does not wait, does not read a clock, and does not know processes.
"""

import itertools
from collections import deque
from collections.abc import Sequence

from service.inference.served_model import LOAD_ALL, Change, Manifest
from service.process.change_requests import log, log_failure, merge, outcome
from service.process.messages import Build, Built, Commit, Committed, Drop, Files, NotBuilt, Outcome
from service.process.progress import (
    Answer,
    ChangeRequest,
    OngoingChange,
    Reply,
    ServedSnapshot,
    Startup,
    Workers,
)
from service.process.worker_pool import Member

# How long a worker may take to build a snapshot, and all of them for a step of a change.
STEP_S = 120
_CLOSED = "The service is shutting down."
_TOO_LONG = f"It took longer than {STEP_S} s."


class Rollout:
    """Tells each worker what to build and when to serve it."""

    def __init__(self, workers: Workers) -> None:
        """Has no workers and no snapshot yet."""
        self.present: ServedSnapshot | None = None
        self.warning: str | None = None  # why the last change failed
        self._workers = workers
        self._numbers = itertools.count(1)
        self._idle: list[Member] = []  # have started, and have nothing to build yet
        self._starting: dict[Member, Startup] = {}
        self._rebuild = False  # whether the next worker reads the repository if none serves
        self._last_read_repository = False  # whether the last worker that started was to read it
        self._current: OngoingChange | None = None
        self._asked: deque[ChangeRequest] = deque()
        self._closed = False

    @property
    def _manifest(self) -> Manifest | None:
        return self.present.manifest if self.present else None

    @property
    def leader(self) -> Member | None:
        """The worker that starts and reads the repository, if one does."""
        leaders = (worker for worker, start in self._starting.items() if start.present is None)
        return next(leaders, None)

    def ask(self, change: Change, answer: Answer) -> None:
        """Requests a change; `answer` is called when it has ended."""
        if self._closed:
            answer(Outcome(_CLOSED, transient=True))
            return
        self._asked.append(ChangeRequest(change, answer))
        self._begin()

    def join(self, worker: Member) -> None:
        """Gives a worker that has started what to build."""
        self._idle.append(worker)
        self._assign()

    def leave(self, worker: Member) -> None:
        """Continues without a worker that ends and is not one of the ready ones any more."""
        if worker in self._idle:
            self._idle.remove(worker)
        self._starting.pop(worker, None)
        self._assign()
        change = self._current
        if change is None or worker not in change.waiting:
            return
        if change.committed:
            self._complete_step(change, worker)  # its replacement builds the new snapshot
        else:
            self._cancel(change, "A worker ended while it loaded the models.")

    def alternate_source(self) -> None:
        """Lets the next worker read the repository if none serves, or no longer if that failed."""
        self._rebuild = not self._workers.ready and not self._last_read_repository

    def on_reply(self, worker: Member, reply: Reply, files: Files = ()) -> None:
        """Handles the reply of a worker; one to a change that has been cancelled is ignored."""
        change, start = self._current, self._starting.get(worker)
        if start and reply.number == start.number:
            del self._starting[worker]
            self._on_start_reply(worker, start, reply, files)
        elif change and reply.number == change.number and worker in change.waiting:
            self._on_change_reply(worker, change, reply, files)

    def check_deadlines(self) -> None:
        """Ends what takes too long."""
        now = self._workers.now
        for worker, start in list(self._starting.items()):
            if now >= start.deadline:
                del self._starting[worker]
                self._on_start_failed(worker, _TOO_LONG, refused=False)
        change = self._current
        if change is None or now < change.deadline:
            return
        if change.committed:
            for worker in change.waiting:
                worker.kill()
        else:
            self._cancel(change, _TOO_LONG)

    def close(self) -> None:
        """Cancels all changes and accepts no more."""
        asked = [*(self._current.asked if self._current else ()), *self._asked]
        self._current = None
        self._asked.clear()
        self._closed = True
        for _, answer in asked:
            answer(Outcome(_CLOSED, transient=True))

    # Workers that start

    def _assign(self) -> None:
        """Lets idle workers build the present snapshot or, if there is none, one of them lead."""
        present = None if self._rebuild else self.present
        while self._idle and (present or not self.leader):
            worker = self._idle.pop(0)
            number, deadline = next(self._numbers), self._workers.now + STEP_S
            self._starting[worker] = Startup(number, deadline, present)
            self._last_read_repository = present is None
            if present:
                worker.send(Build(number, present.manifest), present.files)
            else:
                unloaded = self._manifest.unloaded if self._manifest else frozenset()
                worker.send(Build(number, LOAD_ALL._replace(unload=unloaded)))

    def _on_start_reply(self, worker: Member, start: Startup, reply: Reply, files: Files) -> None:
        if isinstance(reply, NotBuilt):
            self._on_start_failed(worker, reply.reason, refused=reply.refused)
        elif isinstance(reply, Built):
            if start.present is None and not self._workers.ready:
                log(LOAD_ALL, self._manifest, reply.manifest)
                self.present = ServedSnapshot(reply.manifest, files)
            elif start.present is None or start.present is not self.present:  # replaced meanwhile
                self.join(worker)
                return
            elif reply.manifest != start.present.manifest:
                reason = "It has built other models than those that are served."
                self._on_start_failed(worker, reason, refused=False)
                return
            self._serve(worker, start.number)

    def _on_start_failed(self, worker: Member, reason: str, *, refused: bool) -> None:
        self.alternate_source()
        self._workers.on_not_built(worker, reason, refused=refused)

    def _serve(self, worker: Member, number: int) -> None:
        self._rebuild = False
        worker.send(Commit(number))
        self._workers.on_serving(worker)
        change = self._current
        if change and change.built and not change.committed:
            change.waiting.append(worker)
            worker.send(Build(change.number, change.built.manifest), change.built.files)
        self._assign()
        self._begin()

    # A change of all

    def _begin(self) -> None:
        """Begins the next change, if there is one, none is running, and a worker serves."""
        if self._current or not self._asked or not self._workers.ready:
            return
        asked = [self._asked.popleft()]
        change = asked[0].change
        while self._asked and (both := merge(change, self._asked[0].change)):
            asked.append(self._asked.popleft())
            change = both
        rollout = self._current = OngoingChange(next(self._numbers), change, asked)
        self._begin_step(rollout, self._workers.ready[:1])
        rollout.waiting[0].send(Build(rollout.number, change))

    def _begin_step(self, change: OngoingChange, workers: Sequence[Member]) -> None:
        change.waiting = list(workers)
        change.deadline = self._workers.now + STEP_S

    def _on_change_reply(
        self, worker: Member, change: OngoingChange, reply: Reply, files: Files
    ) -> None:
        if isinstance(reply, NotBuilt):
            self._cancel(change, reply.reason, transient=not reply.refused)
        elif isinstance(reply, Committed):
            self._complete_step(change, worker)
        elif change.built is None:
            self._follow(change, worker, ServedSnapshot(reply.manifest, files))
        elif reply.manifest != change.built.manifest:
            self._cancel(change, "A worker has built other models than the first.")
        else:
            self._complete_step(change, worker)

    def _follow(self, change: OngoingChange, leader: Member, built: ServedSnapshot) -> None:
        """Lets all others build what the first worker has built."""
        change.built = built
        self._begin_step(change, [worker for worker in self._workers.ready if worker is not leader])
        for worker in change.waiting:
            worker.send(Build(change.number, built.manifest), built.files)
        if not change.waiting:
            self._commit(change, built)

    def _complete_step(self, change: OngoingChange, worker: Member) -> None:
        change.waiting.remove(worker)
        if change.waiting:
            return
        if change.built and change.committed:
            self._succeed(change, change.built)
        elif change.built:
            self._commit(change, change.built)

    def _commit(self, change: OngoingChange, built: ServedSnapshot) -> None:
        """Makes all workers serve what they have built."""
        change.committed, change.before = True, self._manifest
        self.present = built
        self._begin_step(change, self._workers.ready)
        for worker in change.waiting:
            worker.send(Commit(change.number))
        if not change.waiting:
            self._succeed(change, built)

    def _succeed(self, change: OngoingChange, built: ServedSnapshot) -> None:
        log(change.change, change.before, built.manifest)
        self._end(change, [outcome(asked.change, built.manifest) for asked in change.asked])

    def _cancel(self, change: OngoingChange, reason: str, *, transient: bool = True) -> None:
        """Makes all workers discard what they have built."""
        for worker in self._workers.ready:
            worker.send(Drop(change.number))
        log_failure(change.change, reason)
        outcome = Outcome(reason, transient=transient)
        self._end(change, [outcome for _ in change.asked], reason)

    def _end(
        self, change: OngoingChange, outcomes: Sequence[Outcome], reason: str | None = None
    ) -> None:
        self._current = None
        self.warning = f"The last change of models failed. {reason}" if reason else None
        for asked, result in zip(change.asked, outcomes, strict=True):
            asked.answer(result)
        self._workers.on_change_end()
        self._begin()
