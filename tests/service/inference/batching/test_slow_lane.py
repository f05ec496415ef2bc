"""Lanes, with numbers in place of pictures: those of 100 and more are slow, of 1000 very slow."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar

import pytest

from service.errors import DeadlineExceededError, QueueFullError
from service.inference.batching.batcher import MicroBatcher
from service.inference.batching.slow_lane import NICENESS, PATIENCE, LaneRule, SlowItemError

pytestmark = pytest.mark.anyio

Batcher = MicroBatcher[str, int, int, int]
unlocked: AbstractContextManager[object] = nullcontext()


class Slowly:
    """Doubles numbers; slow ones become small in a lane first."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.in_lane: list[int] = []
        self.started = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()

    def prepare(self, value: int) -> int:
        if value >= 100:
            raise SlowItemError("slow", value, lambda: self._prepare_slowly(value))
        return value

    def _prepare_slowly(self, value: int) -> int:
        if value >= 1000:
            raise SlowItemError("slowest", value, lambda: self._shrink(value, 1000))
        return self._shrink(value, 100)

    def _shrink(self, value: int, factor: int) -> int:
        self.in_lane.append(value)
        self.started.release()
        assert self.go.wait(10)
        if value == 666:
            raise ValueError("broken")
        return value // factor

    def process(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        return [2 * value for value in batch]

    async def wait_until_started(self) -> None:
        assert await asyncio.to_thread(self.started.acquire, timeout=10)


def batcher_of(
    slowly: Slowly,
    *,
    room: float = 10_000,
    lock: AbstractContextManager[object] = unlocked,
    on_batch: Callable[[str, int], None] = lambda _key, _size: None,
) -> Batcher:
    batcher = MicroBatcher(
        slowly.prepare,
        slowly.process,
        max_batch=8,
        max_queue=8,
        threads=1,
        lanes={"slow": LaneRule(1, room, unlocked), "slowest": LaneRule(1, room, lock)},
        on_batch=on_batch,
    )
    batcher.start()
    return batcher


def submit(batcher: Batcher, value: int, deadline: float = 10) -> "asyncio.Future[int]":
    return batcher.submit("key", [value], deadline)[0]


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():
            await asyncio.sleep(0.001)


async def test_slow_item_waits_for_a_batch_once_it_is_prepared() -> None:
    slowly, sizes = Slowly(), list[int]()
    batcher = batcher_of(slowly, on_batch=lambda _key, size: sizes.append(size))
    assert await submit(batcher, 300) == 6
    assert await submit(batcher, 4000) == 8
    assert slowly.batches == [[3], [4]]
    assert sizes == [1, 1]  # to send an item to a lane is no batch
    await asyncio.to_thread(batcher.close)


async def test_others_are_answered_while_the_lock_of_a_lane_is_held() -> None:
    lock = threading.Lock()
    batcher = batcher_of(Slowly(), lock=lock)
    with lock:
        slowest = submit(batcher, 1000)
        for value in range(20):
            assert await submit(batcher, value) == 2 * value
        assert await submit(batcher, 500) == 10  # in another lane
        assert not slowest.done()
        assert batcher.depth("key") == 0
        assert batcher.waiting("key") == 1
    assert await slowest == 2
    await asyncio.to_thread(batcher.close)


async def test_full_lane_refuses_slow_items_alone() -> None:
    slowly = Slowly()
    batcher = batcher_of(slowly, room=250)
    slowly.go.clear()
    busy = submit(batcher, 900)  # more than there is room for, and the first
    await slowly.wait_until_started()
    waiting = [submit(batcher, 100) for _ in range(2)]
    with pytest.raises(QueueFullError, match="large"):
        await submit(batcher, 100)
    assert await submit(batcher, 1) == 2
    waiting[0].cancel()
    replacing = submit(batcher, 100)
    slowly.go.set()
    assert await asyncio.gather(*[busy, waiting[1], replacing]) == [18, 2, 2]
    await asyncio.to_thread(batcher.close)


async def test_cancelled_and_late_items_of_a_lane_are_dropped() -> None:
    slowly, lock = Slowly(), threading.Lock()
    batcher = batcher_of(slowly, lock=lock)
    with lock:
        cancelled, late = submit(batcher, 1000), submit(batcher, 2000, deadline=0.05)
        await until(lambda: batcher.waiting("key") == 2)
        cancelled.cancel()
        with pytest.raises(DeadlineExceededError):
            await late
        assert batcher.waiting("key") == 0
    assert await submit(batcher, 3000) == 6
    assert slowly.in_lane == [3000]
    await asyncio.to_thread(batcher.close)


async def test_item_that_is_cancelled_in_its_lane_is_not_processed() -> None:
    slowly = Slowly()
    batcher = batcher_of(slowly)
    slowly.go.clear()
    cancelled = submit(batcher, 100)
    await slowly.wait_until_started()
    cancelled.cancel()
    slowly.go.set()
    assert await submit(batcher, 200) == 4
    assert slowly.batches == [[2]]
    await asyncio.to_thread(batcher.close)


async def test_item_that_fails_in_its_lane_fails_alone() -> None:
    batcher = batcher_of(Slowly())
    broken, good = submit(batcher, 666), submit(batcher, 200)
    with pytest.raises(ValueError, match="broken"):
        await broken
    assert await good == 4
    await asyncio.to_thread(batcher.close)


class Wanted(AbstractContextManager[None]):
    """A lock that tells when a lane waits for it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_wanted = False

    def __enter__(self) -> None:
        self.is_wanted = True
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


async def test_to_wait_for_a_lock_is_no_fault() -> None:
    wanted = Wanted()
    batcher = batcher_of(Slowly(), lock=wanted)
    with wanted.lock:
        item = submit(batcher, 1000)
        await until(lambda: wanted.is_wanted)
        # The thread that has sent the item to the lane may still be at it.
        await until(lambda: batcher.fault(limit=0) is None)
    await item
    await asyncio.to_thread(batcher.close)


async def test_lane_is_stuck_later_than_other_threads() -> None:
    slowly = Slowly()
    batcher = batcher_of(slowly)
    slowly.go.clear()
    item = submit(batcher, 100)
    await slowly.wait_until_started()
    (thread,) = batcher._lanes["slow"]._threads
    limit = 60
    thread.step_began_at = time.perf_counter() - (PATIENCE - 1) * limit
    assert batcher.fault(limit) is None
    thread.step_began_at = time.perf_counter() - PATIENCE * limit - 1
    assert "slow-0 has been stuck" in str(batcher.fault(limit))
    slowly.go.set()
    await item
    await asyncio.to_thread(batcher.close)


async def test_close_answers_what_waits_in_lanes() -> None:
    slowly, lock = Slowly(), threading.Lock()
    batcher = batcher_of(slowly, lock=lock)
    with lock:
        items = [submit(batcher, value) for value in (1000, 2000, 300, 4)]
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        await until(lambda: batcher._closed)
    assert await asyncio.gather(*items) == [2, 4, 6, 8]
    await closing
    with pytest.raises(RuntimeError, match="closed"):
        submit(batcher, 1)


async def test_items_of_a_lane_can_be_abandoned() -> None:
    lock = threading.Lock()
    batcher = batcher_of(Slowly(), lock=lock)
    with lock:
        item = submit(batcher, 1000)
        await until(lambda: batcher.waiting("key") == 1)
        batcher.abandon(QueueFullError("abandoned"))
        with pytest.raises(QueueFullError, match="abandoned"):
            await item
    await asyncio.to_thread(batcher.close)


async def test_item_is_prepared_in_the_context_of_its_caller_and_at_a_lower_priority() -> None:
    name: ContextVar[str] = ContextVar("name")
    seen: list[object] = []

    class Looking(Slowly):
        def _shrink(self, value: int, factor: int) -> int:
            thread = threading.get_native_id()
            seen.extend([name.get(), os.getpriority(os.PRIO_PROCESS, thread)])
            return super()._shrink(value, factor)

    name.set("caller")
    batcher = batcher_of(Looking())
    assert await submit(batcher, 100) == 2
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    lower = min(niceness + NICENESS, 19) if sys.platform == "linux" else niceness
    assert seen == ["caller", lower]
    await asyncio.to_thread(batcher.close)
