"""A change of model in all workers or in none."""

import pytest

from service.inference.served_model import ServedModel
from service.process.messages import Commit, Drop, Prepare, Reply, ToWorker, Unload
from service.process.rollout import STEP_S, Rollout

OLD = ServedModel("tiny", "1", "model.onnx", "1" * 64, "CPU", "CPU")
NEW = OLD._replace(version="2", sha256="2" * 64)


class FakePeer:
    """A worker that keeps the messages it receives."""

    def __init__(self) -> None:
        self.received: list[ToWorker] = []
        self.killed = False

    def send(self, message: ToWorker) -> None:
        self.received.append(message)

    def kill(self) -> None:
        self.killed = True


class Team:
    """Two workers that serve version 1, and the answers to requests for a change."""

    def __init__(self) -> None:
        self.now = 0.0
        self.first, self.second = FakePeer(), FakePeer()
        self.peers = [self.first, self.second]
        self.answers: list[str | None] = []
        self.rollout = Rollout(lambda: self.peers, lambda: None, lambda: self.now)
        self.rollout.served = OLD

    def load(self) -> None:
        self.rollout.ask("load", self.answers.append)

    def die(self, peer: FakePeer) -> None:
        self.peers.remove(peer)
        self.rollout.on_death(peer)


@pytest.fixture
def team() -> Team:
    return Team()


def test_all_commit_once_all_are_prepared(team: Team) -> None:
    team.load()
    team.rollout.on_reply(team.first, Reply(1, NEW))
    assert team.first.received == team.second.received == [Prepare(1)]
    assert team.rollout.served == OLD
    team.rollout.on_reply(team.second, Reply(1, NEW))
    assert team.first.received == team.second.received == [Prepare(1), Commit(1)]
    assert team.rollout.served == NEW
    assert team.answers == []
    for peer in team.peers:
        team.rollout.on_reply(peer, Reply(1))
    assert team.answers == [None]
    assert team.rollout.warning is None


def test_one_that_cannot_prepare_cancels_the_change(team: Team) -> None:
    team.load()
    team.rollout.on_reply(team.first, Reply(1, NEW))
    team.rollout.on_reply(team.second, Reply(1, reason="It is damaged."))
    assert team.first.received == team.second.received == [Prepare(1), Drop()]
    assert team.answers == ["It is damaged."]
    assert team.rollout.served == OLD
    assert team.rollout.warning == "The last model was not loaded. It is damaged."


@pytest.mark.parametrize("other", [NEW._replace(version="3"), NEW._replace(sha256="3" * 64)])
def test_workers_that_read_different_files_cancel_the_change(
    team: Team, other: ServedModel
) -> None:
    team.load()
    team.rollout.on_reply(team.first, Reply(1, NEW))
    team.rollout.on_reply(team.second, Reply(1, other))
    assert team.second.received[-1] == Drop()
    assert "changed while they were read" in str(team.answers[0])


def test_workers_on_different_providers_agree_on_the_version(team: Team) -> None:
    team.load()
    team.rollout.on_reply(team.first, Reply(1, NEW))
    other = NEW._replace(variant="model.fp16.onnx", sha256="3" * 64, provider="CUDA")
    team.rollout.on_reply(team.second, Reply(1, other))
    assert team.second.received[-1] == Commit(1)


def test_success_removes_the_warning(team: Team) -> None:
    team.load()
    team.rollout.on_reply(team.first, Reply(1, reason="It is damaged."))
    team.load()
    for reply in (Reply(2, NEW), Reply(2)):
        for peer in team.peers:
            team.rollout.on_reply(peer, reply)
    assert team.rollout.warning is None
    assert team.answers == ["It is damaged.", None]


def test_death_while_preparing_cancels_the_change(team: Team) -> None:
    team.load()
    team.rollout.on_reply(team.first, Reply(1, NEW))
    team.die(team.second)
    assert team.first.received == [Prepare(1), Drop()]
    assert "ended while it loaded" in str(team.answers[0])


def test_death_while_committing_does_not_stop_the_change(team: Team) -> None:
    team.load()
    for peer in team.peers:
        team.rollout.on_reply(peer, Reply(1, NEW))
    team.die(team.second)
    team.rollout.on_reply(team.first, Reply(1))
    assert team.answers == [None]
    assert team.rollout.served == NEW


def test_worker_that_is_ready_during_a_change_takes_part(team: Team) -> None:
    team.load()
    late = FakePeer()
    team.peers.append(late)
    team.rollout.on_ready(late)
    for peer in team.peers[:2]:
        team.rollout.on_reply(peer, Reply(1, NEW))
    assert late.received == [Prepare(1)]
    team.rollout.on_reply(late, Reply(1, NEW))
    assert [peer.received[-1] for peer in team.peers] == [Commit(1)] * 3


def test_slow_preparation_is_cancelled_and_its_late_reply_ignored(team: Team) -> None:
    team.load()
    team.rollout.on_reply(team.first, Reply(1, NEW))
    team.now = STEP_S
    team.rollout.check_deadlines()
    assert "took longer" in str(team.answers[0])
    team.rollout.on_reply(team.second, Reply(1, NEW))
    assert team.second.received == [Prepare(1), Drop()]


def test_worker_that_does_not_commit_is_killed(team: Team) -> None:
    team.load()
    for peer in team.peers:
        team.rollout.on_reply(peer, Reply(1, NEW))
    team.rollout.on_reply(team.first, Reply(1))
    team.now = STEP_S
    team.rollout.check_deadlines()
    assert [peer.killed for peer in team.peers] == [False, True]
    team.die(team.second)
    assert team.answers == [None]


def test_changes_run_one_after_another(team: Team) -> None:
    team.load()
    team.load()
    assert team.first.received == [Prepare(1)]
    for reply in (Reply(1, NEW), Reply(1)):
        for peer in team.peers:
            team.rollout.on_reply(peer, reply)
    assert team.answers == [None]
    assert team.first.received == [Prepare(1), Commit(1), Prepare(2)]


def test_change_waits_for_a_worker(team: Team) -> None:
    team.peers.clear()
    team.load()
    team.peers.append(team.first)
    team.rollout.on_ready(team.first)
    assert team.first.received == [Prepare(1)]


def test_unload_needs_no_preparation_and_can_be_undone(team: Team) -> None:
    team.rollout.ask("unload", team.answers.append)
    assert team.first.received == team.second.received == [Unload(1)]
    for peer in team.peers:
        team.rollout.on_reply(peer, Reply(1))
    assert team.answers == [None]
    assert (team.rollout.served, team.rollout.unloaded) == (None, True)
    team.load()
    for peer in team.peers:
        team.rollout.on_reply(peer, Reply(2, OLD))
    assert (team.rollout.served, team.rollout.unloaded) == (OLD, False)


def test_close_answers_all_waiting_changes(team: Team) -> None:
    team.load()
    team.load()
    team.rollout.close()
    team.load()
    assert team.answers == ["The service is shutting down."] * 3
    assert team.first.received == [Prepare(1)]
