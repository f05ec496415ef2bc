"""All workers change their model, or none."""

import pytest

from service.inference.served_model import ServedModel
from service.process.messages import Commit, Drop, Prepare, Reply, ToWorker, Unload
from service.process.rollout import STEP_S, Rollout

OLD = ServedModel("tiny", "1", "model.onnx", "1" * 64, "CPU", "CPU")
NEW = OLD._replace(version="2", sha256="2" * 64)


class FakePeer:
    """A worker that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[ToWorker] = []
        self.killed = False

    def send(self, message: ToWorker) -> None:
        self.told.append(message)

    def kill(self) -> None:
        self.killed = True


class Team:
    """Two workers that serve version 1, and what was answered to those who asked for a change."""

    def __init__(self) -> None:
        self.now = 0.0
        self.first, self.second = FakePeer(), FakePeer()
        self.peers = [self.first, self.second]
        self.answers: list[str | None] = []
        self.changes = Rollout(lambda: self.peers, lambda: None, lambda: self.now)
        self.changes.served = OLD

    def load(self) -> None:
        self.changes.ask("load", self.answers.append)

    def die(self, peer: FakePeer) -> None:
        self.peers.remove(peer)
        self.changes.on_death(peer)


@pytest.fixture
def team() -> Team:
    return Team()


def test_all_commit_once_all_are_prepared(team: Team) -> None:
    team.load()
    team.changes.on_reply(team.first, Reply(1, NEW))
    assert team.first.told == team.second.told == [Prepare(1)]
    assert team.changes.served == OLD
    team.changes.on_reply(team.second, Reply(1, NEW))
    assert team.first.told == team.second.told == [Prepare(1), Commit(1)]
    assert team.changes.served == NEW
    assert team.answers == []
    for peer in team.peers:
        team.changes.on_reply(peer, Reply(1))
    assert team.answers == [None]
    assert team.changes.warning is None


def test_one_that_cannot_prepare_keeps_all_as_they_are(team: Team) -> None:
    team.load()
    team.changes.on_reply(team.first, Reply(1, NEW))
    team.changes.on_reply(team.second, Reply(1, reason="It is damaged."))
    assert team.first.told == team.second.told == [Prepare(1), Drop()]
    assert team.answers == ["It is damaged."]
    assert team.changes.served == OLD
    assert team.changes.warning == "The last model was not loaded. It is damaged."


@pytest.mark.parametrize("other", [NEW._replace(version="3"), NEW._replace(sha256="3" * 64)])
def test_workers_that_read_different_files_stay_as_they_are(team: Team, other: ServedModel) -> None:
    team.load()
    team.changes.on_reply(team.first, Reply(1, NEW))
    team.changes.on_reply(team.second, Reply(1, other))
    assert team.second.told[-1] == Drop()
    assert "changed while they were read" in str(team.answers[0])


def test_workers_on_different_providers_agree_on_the_version(team: Team) -> None:
    team.load()
    team.changes.on_reply(team.first, Reply(1, NEW))
    other = NEW._replace(variant="model.fp16.onnx", sha256="3" * 64, provider="CUDA")
    team.changes.on_reply(team.second, Reply(1, other))
    assert team.second.told[-1] == Commit(1)


def test_success_takes_the_warning_back(team: Team) -> None:
    team.load()
    team.changes.on_reply(team.first, Reply(1, reason="It is damaged."))
    team.load()
    for reply in (Reply(2, NEW), Reply(2)):
        for peer in team.peers:
            team.changes.on_reply(peer, reply)
    assert team.changes.warning is None
    assert team.answers == ["It is damaged.", None]


def test_death_while_preparing_ends_the_change(team: Team) -> None:
    team.load()
    team.changes.on_reply(team.first, Reply(1, NEW))
    team.die(team.second)
    assert team.first.told == [Prepare(1), Drop()]
    assert "ended while it loaded" in str(team.answers[0])


def test_death_while_committing_does_not_keep_the_others(team: Team) -> None:
    team.load()
    for peer in team.peers:
        team.changes.on_reply(peer, Reply(1, NEW))
    team.die(team.second)
    team.changes.on_reply(team.first, Reply(1))
    assert team.answers == [None]
    assert team.changes.served == NEW


def test_worker_that_is_ready_in_the_midst_of_it_takes_part(team: Team) -> None:
    team.load()
    late = FakePeer()
    team.peers.append(late)
    team.changes.on_ready(late)
    for peer in team.peers[:2]:
        team.changes.on_reply(peer, Reply(1, NEW))
    assert late.told == [Prepare(1)]
    team.changes.on_reply(late, Reply(1, NEW))
    assert [peer.told[-1] for peer in team.peers] == [Commit(1)] * 3


def test_slow_preparation_is_given_up_and_its_late_reply_ignored(team: Team) -> None:
    team.load()
    team.changes.on_reply(team.first, Reply(1, NEW))
    team.now = STEP_S
    team.changes.check_deadlines()
    assert "took longer" in str(team.answers[0])
    team.changes.on_reply(team.second, Reply(1, NEW))
    assert team.second.told == [Prepare(1), Drop()]


def test_worker_that_does_not_commit_is_killed(team: Team) -> None:
    team.load()
    for peer in team.peers:
        team.changes.on_reply(peer, Reply(1, NEW))
    team.changes.on_reply(team.first, Reply(1))
    team.now = STEP_S
    team.changes.check_deadlines()
    assert [peer.killed for peer in team.peers] == [False, True]
    team.die(team.second)
    assert team.answers == [None]


def test_changes_go_one_after_another(team: Team) -> None:
    team.load()
    team.load()
    assert team.first.told == [Prepare(1)]
    for reply in (Reply(1, NEW), Reply(1)):
        for peer in team.peers:
            team.changes.on_reply(peer, reply)
    assert team.answers == [None]
    assert team.first.told == [Prepare(1), Commit(1), Prepare(2)]


def test_change_waits_for_a_worker(team: Team) -> None:
    team.peers.clear()
    team.load()
    team.peers.append(team.first)
    team.changes.on_ready(team.first)
    assert team.first.told == [Prepare(1)]


def test_unload_needs_no_preparation_and_can_be_taken_back(team: Team) -> None:
    team.changes.ask("unload", team.answers.append)
    assert team.first.told == team.second.told == [Unload(1)]
    for peer in team.peers:
        team.changes.on_reply(peer, Reply(1))
    assert team.answers == [None]
    assert (team.changes.served, team.changes.unloaded) == (None, True)
    team.load()
    for peer in team.peers:
        team.changes.on_reply(peer, Reply(2, OLD))
    assert (team.changes.served, team.changes.unloaded) == (OLD, False)


def test_end_of_the_service_answers_all_who_wait(team: Team) -> None:
    team.load()
    team.load()
    team.changes.close()
    team.load()
    assert team.answers == ["The service is shutting down."] * 3
    assert team.first.told == [Prepare(1)]
