"""What always holds of the workers, in whatever order they die, hang, fail and are told to change.

There are no processes here: the clock, the workers and the repository are those of `crew`.
"""

import logging
import os
from typing import get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from service.inference.served_model import LOAD_ALL, Change, Manifest
from service.process.lifecycle import EXIT_S, GRACE_S, MAX_STEP_S
from service.process.messages import Build
from service.process.rollout import STEP_S
from service.process.worker_pool import MAX_BACK_OFF_S, START_S
from tests.service.process.crew import DRAIN_S, STUCK_S, FakeWorker, Outcome, World, distinct

pytestmark = pytest.mark.long

# Longest time until all that was broken is repaired, once nothing breaks any more.
REST_S = 2 * START_S + 2 * STEP_S + STUCK_S + EXIT_S + MAX_BACK_OFF_S
# `make torture` has more.
HISTORIES = 10_000 if os.environ.get("TORTURE") else 500

NAMES = st.sampled_from(["tiny", "other"])
CHANGES = st.one_of(
    st.just(LOAD_ALL),
    NAMES.map(lambda name: Change(frozenset([name]))),
    NAMES.map(lambda name: Change(frozenset(), frozenset([name]))),
)
OUTCOMES = st.sampled_from(get_args(Outcome))
# An index of a worker; of several that there are, the rest of the division by their number.
INDICES = st.integers(0, 2)


class Machine(RuleBasedStateMachine):
    """Two or three workers, to which anything happens at any time."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        logging.getLogger("service.process").setLevel(logging.CRITICAL)
        self.stopped_at: float | None = None
        self.has_served = False
        self.was_ready = False  # whether a worker has known that it serves
        self.asked: list[tuple[FakeWorker, int]] = []

    def teardown(self) -> None:
        logging.getLogger("service.process").setLevel(logging.NOTSET)
        if hasattr(self, "world"):
            self.come_to_rest()
            self.end()

    @property
    def going_on(self) -> bool:
        return self.stopped_at is None

    def pick(self, index: int) -> FakeWorker | None:
        workers = self.world.workers
        return workers[index % len(workers)] if workers else None

    @initialize(size=st.sampled_from([1, 2, 3, 3]), starts=st.booleans())
    def begin(self, size: int, starts: bool) -> None:
        self.world = World(size)
        if not starts:
            self.world.settle(2)

    # What the workers do

    @rule()
    def work_all(self) -> None:
        self.world.step()

    @rule(index=INDICES)
    def start(self, index: int) -> None:
        if worker := self.pick(index):
            worker.start()

    @rule(index=INDICES)
    def work(self, index: int) -> None:
        if worker := self.pick(index):
            worker.work()

    @rule(index=INDICES, outcome=OUTCOMES)
    def build(self, index: int, outcome: Outcome) -> None:
        """Builds what it is told to build, after all that it is told before that."""
        worker = self.pick(index)
        while worker and worker.state == "running" and worker.is_told_to_build:
            builds = isinstance(worker.inbox[0], Build)
            worker.work(outcome if builds else "good")
            if builds:
                break

    @rule(index=INDICES)
    def deliver(self, index: int) -> None:
        if worker := self.pick(index):
            self.world.deliver(worker)

    @rule(index=INDICES)
    def replace(self, index: int) -> None:
        """A worker dies; the next one builds what it is told to, and has not said so."""
        if worker := self.pick(index):
            worker.end(-11)
            self.world.reap(worker)
            self.world.advance(0)
            for other in self.world.workers:
                if other.state == "starting":
                    other.start()
                    self.world.deliver(other)
                    while other.inbox:
                        other.work()

    @rule(index=INDICES)
    def find_fault(self, index: int) -> None:
        if (worker := self.pick(index)) and worker.state == "running":
            worker.fail()

    @rule(index=INDICES)
    def die(self, index: int) -> None:
        if worker := self.pick(index):
            worker.end(-11)

    @rule(index=INDICES)
    def hang(self, index: int) -> None:
        if (worker := self.pick(index)) and worker.state != "dead":
            worker.state = "hung"

    @rule(index=INDICES)
    def reap(self, index: int) -> None:
        if worker := self.pick(index):
            self.world.reap(worker)

    @rule()
    def lose_all(self) -> None:
        """All workers die, and others start in their places."""
        for worker in self.world.workers:
            worker.end(-11)
            self.world.reap(worker)
        self.world.advance(1)
        for worker in self.world.workers:
            worker.start()
            self.world.deliver(worker)

    @rule(fails=st.booleans())
    def let_starts_fail(self, fails: bool) -> None:
        self.world.start_fails = fails

    # What people do

    @rule(name=NAMES, version=st.one_of(st.none(), st.integers(1, 5)))
    def publish(self, name: str, version: int | None) -> None:
        self.world.repository[name] = version

    @rule(readable=st.booleans())
    def lose_repository(self, readable: bool) -> None:
        self.world.readable = readable

    @rule(index=INDICES, change=CHANGES)
    def ask(self, index: int, change: Change) -> None:
        if (worker := self.pick(index)) and worker.state == "running":
            self.asked.append(self.world.ask(worker, change))

    @rule()
    def reload(self) -> None:
        self.world.lifecycle.reload()

    @rule(version=st.integers(1, 5), outcome=OUTCOMES, late=st.booleans())
    def change(self, version: int, outcome: Outcome, late: bool) -> None:
        """A change in which the first follower has this outcome, and which a late worker meets."""
        if late:
            self.replace(2)
        self.world.repository["tiny"] = version
        self.world.lifecycle.reload()
        for worker in self.world.ready[:1]:
            self.finish(worker)
        if late:
            for worker in self.world.workers:
                self.world.deliver(worker)
        for worker in self.world.ready[1:2]:
            self.finish(worker, outcome)

    def finish(self, worker: FakeWorker, outcome: Outcome = "good") -> None:
        """A worker does all that it is told to do, and its replies arrive."""
        while worker.state == "running" and worker.inbox:
            worker.work(outcome)
        while worker.outbox:
            self.world.deliver(worker)

    @precondition(lambda self: not self.going_on)
    @rule()
    def reload_while_it_ends(self) -> None:
        """Changes nothing."""
        before = [(worker.state, list(worker.received)) for worker in self.world.workers]
        self.world.lifecycle.reload()
        self.world.lifecycle.on_terminal_closed()
        assert before == [(it.state, list(it.received)) for it in self.world.workers]

    @rule(
        how=st.sampled_from(["terminate", "interrupt", "on_terminal_closed"]),
        luck=st.integers(0, 4),
    )
    def stop(self, how: str, luck: int) -> None:
        if self.going_on and luck < 4:  # else few histories would last
            return
        getattr(self.world.lifecycle, how)()
        if self.stopped_at is None:
            self.stopped_at = self.world.lifecycle.now

    # Time

    @rule(seconds=st.sampled_from([0.1, 0.5, 2.0]))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule()
    def wait_long(self) -> None:
        """Nobody sends a message for a while, but the heartbeats of those that run."""
        for _ in range(20):
            self.world.advance(2)
            for worker in self.world.workers:
                if worker.state == "running" and not worker.outbox:
                    worker.send_heartbeat()
                    self.world.deliver(worker)

    @rule(seconds=st.sampled_from([100.0, 1e6]))
    def pause(self, seconds: float) -> None:
        """The machine stands still, which ends no worker that was not about to end anyway."""
        now = self.world.lifecycle.now
        safe = [worker for worker in self.world.workers if self.is_safe(worker, now)]
        before = [worker.state for worker in safe]
        self.world.advance(seconds)
        assert before == [worker.state for worker in safe]

    def is_safe(self, worker: FakeWorker, now: float) -> bool:
        may_be_silent = worker.may_be_silent_s - MAX_STEP_S
        return (
            self.going_on
            and worker.kill_at is None
            and worker.ready_at is None  # it may be late for a step of a change
            and now - worker.heard_at < may_be_silent
        )

    # What always holds

    @invariant()
    def some_worker_serves_or_is_started(self) -> None:
        if not hasattr(self, "world"):
            return
        keeper = self.world.lifecycle
        self.has_served |= bool(keeper.ready)
        if self.going_on and self.has_served:
            assert keeper.failure is None
            assert not keeper.stopping
            soon = keeper.now + MAX_BACK_OFF_S
            assert all(slot.worker or slot.start_at <= soon for slot in keeper.pool.slots)

    @invariant()
    def at_most_two_snapshots_are_served(self) -> None:
        if hasattr(self, "world"):
            served = [manifest for manifest in self.world.serving if manifest]
            assert len(distinct(served)) <= 2

    @invariant()
    def none_loads_for_clients_once_one_has_said_that_it_is_ready(self) -> None:
        if hasattr(self, "world"):
            running = [worker for worker in self.world.workers if worker.state == "running"]
            self.was_ready |= any(worker.serves for worker in running)
            healthy = [worker for worker in running if worker.kill_at is None]
            accepting = [worker for worker in healthy if worker.accepts]
            assert not self.was_ready or all(w.serves or w.is_told_to_serve for w in accepting)

    @invariant()
    def nobody_is_answered_twice(self) -> None:
        if hasattr(self, "world"):
            assert all(len(answers) <= 1 for answers in self.world.answers.values())

    def come_to_rest(self) -> None:
        """Once nothing breaks any more, all serve the same, and all who asked are answered."""
        keeper = self.world.lifecycle
        self.world.settle(REST_S)
        if self.going_on and keeper.failure is None:
            assert len(keeper.ready) == len(keeper.pool.slots)
            (manifest,) = distinct(self.world.serving)
            assert manifest is not None
            self.check_reload(manifest)
        for worker, number in self.asked:
            alive = worker in self.world.workers
            assert len(self.world.answers[worker, number]) == 1 or not alive

    def check_reload(self, manifest: Manifest) -> None:
        """The service can still be told to change, and then serves what is there."""
        world = self.world
        world.readable = True
        world.repository |= {"tiny": 6, "other": 6}
        world.lifecycle.reload()
        world.settle(1)
        (now,) = distinct(world.serving)
        assert now == world.read(LOAD_ALL._replace(unload=manifest.unloaded), None)

    def end(self) -> None:
        """It ends within its grace, whatever hangs."""
        keeper = self.world.lifecycle
        for worker in self.world.workers[:1]:
            if worker.state != "dead":
                worker.state = "hung"
        keeper.terminate()
        self.world.settle(DRAIN_S + GRACE_S + EXIT_S + 2)
        assert keeper.ended
        assert self.world.closed == 1


def test_worker_that_will_serve_first_is_the_one_that_answers_until_then() -> None:
    world = World(2)
    late, leader = world.workers
    for worker in (leader, late):
        worker.start()
        world.deliver(worker)
    assert [sorted(worker.listens) for worker in (late, leader)] == [[], [0, 1]]
    while leader.inbox:
        leader.work()
    world.deliver(leader)
    assert [sorted(worker.listens) for worker in (late, leader)] == [[], [0, 1]]
    world.settle(2)
    assert [sorted(worker.listens) for worker in (late, leader)] == [[0], [1]]


@pytest.mark.parametrize(("dies", "clean"), [(False, True), (True, False)])
def test_end_is_not_clean_if_workers_die_while_the_service_drains(dies: bool, clean: bool) -> None:
    world = World(2)
    world.settle(3)
    world.lifecycle.terminate()
    world.advance(0.1)
    for worker in world.workers:
        if dies:
            worker.kill()
    world.settle(DRAIN_S + GRACE_S)
    assert world.lifecycle.ended
    assert world.lifecycle.clean is clean


TestLifecycle = Machine.TestCase
TestLifecycle.settings = settings(max_examples=HISTORIES, stateful_step_count=40, deadline=None)
