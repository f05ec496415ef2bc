"""Which worker accepts connections from which listener, and when a worker is started again."""

import pytest

from service.process.messages import Files, Listen, ToWorker
from service.process.worker_pool import MAX_BACK_OFF_S, Member, Slot, WorkerPool


class FakeWorker(Member):
    """Keeps what is sent to it."""

    def __init__(self, *, ready: bool) -> None:
        super().__init__(heard_at=0, ready_at=0 if ready else None)
        self.sent: list[ToWorker] = []

    @property
    def pid(self) -> int:
        return 1

    def send(self, message: ToWorker, _files: Files = ()) -> None:
        self.sent.append(message)

    def kill(self) -> None:
        raise AssertionError


def sent_to(worker: Member) -> list[ToWorker]:
    assert isinstance(worker, FakeWorker)
    return worker.sent


def make_pool(*ready: bool) -> WorkerPool:
    pool = WorkerPool(len(ready))
    for slot, is_ready in zip(pool.slots, ready, strict=True):
        slot.worker = FakeWorker(ready=is_ready)
    return pool


@pytest.mark.parametrize(
    ("ready", "second_leads", "listens"),
    [
        ((True, True, True), False, ({0}, {1}, {2})),
        ((True, False, True), False, ({0}, set(), {1, 2})),
        ((False, False, True), False, (set(), set(), {0, 1, 2})),
        ((False, False, False), True, (set(), {0, 1, 2}, set())),
        ((False, False, True), True, (set(), set(), {0, 1, 2})),
        ((False, False, False), False, (set(), set(), set())),
    ],
)
def test_each_listener_has_its_own_worker_or_another_that_is_ready(
    ready: tuple[bool, ...], second_leads: bool, listens: tuple[set[int], ...]
) -> None:
    pool = make_pool(*ready)
    pool.assign_listeners(pool.workers[1] if second_leads else None)
    assert tuple(worker.listens for worker in pool.workers) == listens
    for worker, numbers in zip(pool.workers, listens, strict=True):
        assert sent_to(worker) == ([Listen(frozenset(numbers))] if numbers else [])


def test_worker_that_exits_gives_its_listener_to_another() -> None:
    pool = make_pool(True, True)
    pool.assign_listeners()
    first, second = pool.workers
    first.kill_at = 5
    pool.assign_listeners()
    assert sent_to(first)[-1] == Listen(frozenset())
    assert sent_to(second)[-1] == Listen(frozenset({0, 1}))


def test_unchanged_assignment_is_not_sent_again() -> None:
    pool = make_pool(True)
    for _ in range(2):
        pool.assign_listeners()
    assert len(sent_to(pool.workers[0])) == 1


def test_delay_grows_with_repeated_failures() -> None:
    slot = Slot(0)
    delays = []
    for _ in range(8):
        slot.add_failure(now=100)
        delays.append(slot.start_at - 100)
    assert delays == [0, 1, 3, 7, 15, MAX_BACK_OFF_S, MAX_BACK_OFF_S, MAX_BACK_OFF_S]
