"""A change of models in all workers or in none, and workers that start meanwhile."""

import pytest

from service.inference.served_model import LOAD_ALL, Change, Manifest
from service.process import messages
from service.process.change_requests import merge, outcome
from service.process.messages import Build, Commit, Drop, Outcome, ToWorker
from service.process.rollout import STEP_S
from tests.service.process.crew import FakeWorker, World, distinct, served
from tests.service.process.crew import Outcome as End

LOAD = Change(frozenset(["tiny"]))
LOAD_OTHER = Change(frozenset(["other"]))
UNLOAD = Change(frozenset(), frozenset(["tiny"]))
# Of the messages to a worker, those that are not about snapshots.
ASIDE = (messages.Listen, messages.Warn, messages.Done)


class Team(World):
    """Two workers that serve version 1 of two models."""

    def __init__(self) -> None:
        super().__init__(2)
        self.settle(2)
        self.first, self.second = self.workers
        for worker in self.workers:
            worker.received.clear()
            worker.files.clear()

    def load(self, change: Change = LOAD, version: int = 2) -> list[str | None]:
        """A client of the first worker asks for a change; returns the list of its answers."""
        self.repository["tiny"] = version
        key = self.ask(self.first, change)
        self.deliver(self.first)
        return self.answers[key]

    def do(self, worker: FakeWorker, outcome: str = "good") -> None:
        """A worker follows all its messages, and its replies arrive."""
        while worker.inbox and worker.state == "running":
            worker.work(outcome)  # type: ignore[arg-type]
        while worker.outbox:
            self.deliver(worker)

    def die(self, worker: FakeWorker) -> None:
        worker.end(-11)
        self.reap(worker)

    def version(self, worker: FakeWorker) -> str:
        assert worker.serves is not None
        return worker.serves.models[0].version


def told(worker: FakeWorker) -> list[ToWorker]:
    return [message for message in worker.received if not isinstance(message, ASIDE)]


@pytest.fixture
def team() -> Team:
    return Team()


def test_first_worker_reads_the_repository_and_the_others_build_its_files() -> None:
    world = World(2)
    first, second = world.workers
    for worker in world.workers:
        worker.start()
        world.deliver(worker)
    assert told(first) == [Build(1, LOAD_ALL)]
    assert told(second) == []
    while first.inbox:
        first.work()
    world.deliver(first)
    assert first.serves is None
    assert told(first)[-1] == Commit(1)
    build = told(second)[-1]
    assert isinstance(build, Build)
    assert isinstance(build.order, Manifest)
    assert world.files in second.files


def test_one_builds_then_the_others_then_all_serve(team: Team) -> None:
    answers = team.load()
    (build,) = told(team.first)
    assert isinstance(build, Build)
    assert build.order == LOAD
    assert told(team.second) == []
    team.do(team.first)
    follow = told(team.second)[-1]
    assert isinstance(follow, Build)
    assert isinstance(follow.order, Manifest)
    assert follow.order.models[0] == served("tiny", 2)
    assert team.version(team.first) == "1"
    team.do(team.second)
    assert told(team.first)[-1] == told(team.second)[-1] == Commit(build.number)
    team.do(team.first)
    assert answers == []
    team.do(team.second)
    assert answers == [None]
    assert team.version(team.first) == team.version(team.second) == "2"


@pytest.mark.parametrize("outcome", ["refused", "failed"])
def test_one_that_cannot_build_cancels_the_change(team: Team, outcome: str) -> None:
    answers = team.load()
    team.do(team.first)
    team.do(team.second, outcome)
    assert isinstance(told(team.first)[-1], Drop)
    assert isinstance(told(team.second)[-1], Drop)
    assert answers == ["It is damaged."]
    assert team.may_repeat is (outcome == "failed")
    warning = "The last change of models failed. It is damaged."
    assert messages.Warn(warning) in team.second.received
    team.load(version=3)
    team.settle(1)
    assert team.second.received[-1] == messages.Warn(None)
    assert team.version(team.second) == "3"


def test_one_that_builds_something_else_cancels_the_change(team: Team) -> None:
    answers = team.load()
    team.do(team.first)
    team.do(team.second, "other")
    assert answers == ["A worker has built other models than the first."]
    assert team.may_repeat
    team.settle(1)
    assert team.version(team.first) == team.version(team.second) == "1"


@pytest.mark.parametrize("led", [False, True])
def test_death_of_a_worker_that_builds_cancels_the_change(team: Team, led: bool) -> None:
    team.repository["tiny"] = 2
    key = team.ask(team.second, LOAD)
    team.deliver(team.second)
    if led:
        team.do(team.first)
        team.die(team.second)
        answers: list[str | None] = []
    else:
        team.die(team.first)
        answers = team.answers[key]
        assert answers == ["A worker ended while it loaded the models."]
        assert team.may_repeat
    team.settle(5)
    assert [manifest.models[0].version for manifest in team.serving if manifest] == ["1", "1"]


def test_death_while_all_begin_to_serve_does_not_stop_the_change(team: Team) -> None:
    answers = team.load()
    team.do(team.first)
    team.do(team.second)
    team.die(team.second)
    team.do(team.first)
    assert answers == [None]
    team.settle(5)
    assert [manifest.models[0].version for manifest in team.serving if manifest] == ["2", "2"]


def replace_second(team: Team) -> FakeWorker:
    """The second worker dies; its replacement has built what is served, and has not said so."""
    team.die(team.second)
    team.advance(0.1)
    late = team.workers[1]
    late.start()
    team.deliver(late)
    while late.inbox:
        late.work()
    return late


def test_worker_that_starts_while_one_builds_takes_part(team: Team) -> None:
    late = replace_second(team)
    answers = team.load()
    team.deliver(late)
    team.do(late)
    assert team.version(late) == "1"
    team.do(team.first)
    team.do(late)
    team.do(team.first)
    team.do(late)
    assert answers == [None]
    assert team.version(team.first) == team.version(late) == "2"


def test_worker_that_starts_while_the_others_build_takes_part() -> None:
    """Else it would serve the old models after the change was answered."""
    world = World(3)
    world.settle(2)
    leader, follower, dead = world.workers
    dead.end(-11)
    world.reap(dead)
    world.advance(0.1)
    late = world.workers[2]
    late.start()
    world.deliver(late)
    while late.inbox:
        late.work()
    world.repository["tiny"] = 2
    world.lifecycle.reload()
    leader.work()
    while leader.inbox:
        leader.work()
    world.deliver(leader)  # the follower is told to build
    world.deliver(late)
    commit, build = [it for it in told(late) if isinstance(it, Commit | Build)][-2:]
    assert isinstance(commit, Commit)
    assert isinstance(build, Build)
    assert isinstance(build.order, Manifest)
    assert build.order.models[0] == served("tiny", 2)
    while follower.inbox:
        follower.work()
    world.deliver(follower)
    assert not [it for it in leader.inbox if isinstance(it, Commit)]  # it waits for the late one
    world.settle(1)
    assert len(distinct(world.serving)) == 1


def test_worker_that_has_built_what_was_served_before_builds_again(team: Team) -> None:
    late = replace_second(team)
    answers = team.load()
    team.do(team.first)
    team.do(team.first)
    assert answers == [None]
    team.deliver(late)
    assert late.serves is None
    assert isinstance(told(late)[-1], Build)
    team.do(late)
    team.do(late)
    assert team.version(late) == "2"


def test_replacement_never_reads_the_repository(team: Team) -> None:
    team.repository |= {"tiny": 2, "other": None}
    for worker in team.workers:
        team.die(worker)
    team.settle(5)
    assert [manifest.models[0].version for manifest in team.serving if manifest] == ["1", "1"]


def test_when_nobody_can_build_what_was_served_the_next_one_reads_the_repository(
    team: Team,
) -> None:
    team.repository["tiny"] = 2
    for worker in team.workers:
        team.die(worker)
    team.advance(0.1)
    first, second = team.workers
    for worker in (first, second):
        worker.start()
        team.deliver(worker)
    for worker in (first, second):
        team.do(worker, "refused")
    team.settle(5)
    assert first not in team.workers
    assert second not in team.workers
    assert [manifest.models[0].version for manifest in team.serving if manifest] == ["2", "2"]


@pytest.mark.parametrize("end", ["dead", "refused"])
def test_what_was_served_is_tried_again_where_the_repository_cannot_be_read(
    team: Team, end: End
) -> None:
    """The workers may have ended for want of memory, say, which is there again."""
    team.repository["tiny"] = None
    team.readable = False
    for worker in team.workers:
        team.die(worker)
    for _ in range(20):
        team.advance(2)
        team.step(dict.fromkeys(team.workers, end))
    assert team.serving == []
    team.settle(120)
    assert [manifest.models[0].version for manifest in team.serving if manifest] == ["1", "1"]


def test_slow_build_is_cancelled_and_its_late_reply_ignored(team: Team) -> None:
    answers = team.load()
    for _ in range(STEP_S):
        team.advance(1)
        for worker in team.workers:
            worker.send_heartbeat()
            team.deliver(worker)
    assert answers == [f"It took longer than {STEP_S} s."]
    assert team.may_repeat
    team.do(team.first)
    (build, drop) = told(team.first)
    assert isinstance(build, Build)
    assert drop == Drop(build.number)
    assert told(team.second) == [drop]


def test_worker_that_does_not_begin_to_serve_is_killed(team: Team) -> None:
    answers = team.load()
    team.do(team.first)
    team.do(team.second)
    team.do(team.first)
    for _ in range(STEP_S):
        team.advance(1)
        for worker in team.workers:
            worker.send_heartbeat()
            team.deliver(worker)
    assert [worker.state for worker in team.workers] == ["running", "dead"]
    team.reap(team.second)
    assert answers == [None]


def test_unload_holds_until_the_model_is_loaded_by_name(team: Team) -> None:
    answers = team.load(UNLOAD)
    team.settle(1)
    assert answers == [None]
    assert distinct(team.serving) == [
        Manifest((served("other", 1),), {}, {}, frozenset(["tiny"]), "tiny")
    ]
    team.lifecycle.reload()
    team.settle(1)
    assert [it.unloaded for it in team.serving if it] == [frozenset(["tiny"])] * 2
    team.die(team.workers[0])
    team.settle(5)
    assert [it.unloaded for it in team.serving if it] == [frozenset(["tiny"])] * 2
    answers = team.load(version=3)
    team.settle(1)
    assert answers == [None]
    assert [it.unloaded for it in team.serving if it] == [frozenset()] * 2


def test_changes_asked_for_meanwhile_are_made_together_and_each_has_its_answer(
    team: Team,
) -> None:
    team.load()
    team.repository["other"] = None
    later = [team.load(version=3), team.load(LOAD_OTHER, version=3), team.load(UNLOAD, version=3)]
    team.settle(5)
    assert later == [[None], ["It is damaged."], [None]]
    orders = [it.order for it in told(team.first) if isinstance(it, Build)]
    both = Change(frozenset(["tiny", "other"]))
    assert orders == [LOAD, both, UNLOAD]
    assert [it.failures for it in team.serving if it] == [{"other": "It is damaged."}] * 2


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (LOAD, LOAD_OTHER, Change(frozenset(["tiny", "other"]))),
        (LOAD_OTHER, UNLOAD, Change(frozenset(["other"]), frozenset(["tiny"]))),
        (LOAD, UNLOAD, None),
        (UNLOAD, LOAD, None),
        (LOAD_ALL, LOAD_ALL, LOAD_ALL),
        (LOAD_ALL, UNLOAD, Change(None, frozenset(["tiny"]))),
        # It may have been unloaded, which loading all does not undo.
        (LOAD_ALL, LOAD, None),
    ],
)
def test_changes_are_one_unless_they_contradict_each_other(
    first: Change, second: Change, both: Change | None
) -> None:
    assert merge(first, second) == both


def test_outcome_is_of_the_models_that_were_asked_for() -> None:
    manifest = Manifest((), {"a": "No a.", "b": "No b."}, {"c": "Larger."}, frozenset(), "a")
    assert outcome(Change(frozenset(["b", "c"])), manifest) == Outcome("No b.", "Larger.")
    assert outcome(LOAD_ALL, manifest) == Outcome("No a. No b.", "Larger.")
    assert outcome(UNLOAD, manifest) == Outcome(None, None)


def test_stop_answers_all_waiting_changes(team: Team) -> None:
    answers = [team.load(), team.load()]
    team.lifecycle.terminate()
    answers.append(team.load())
    assert answers == [["The service is shutting down."]] * 3
    assert team.may_repeat
