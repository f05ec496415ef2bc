"""The micro-batcher, with numbers in place of pictures."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar

import pytest

from service.errors import DeadlineExceededError, QueueFullError
from service.inference.batching.batcher import MicroBatcher
from service.observability.statistics import BatchTimes

pytestmark = pytest.mark.anyio

FOREVER = 10_000


class Doubler:
    """Doubles numbers, held until `go`; raises for 13 alone and for any batch with 666."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.started = threading.Semaphore(0)
        self._permits = threading.Semaphore(0 if held else FOREVER)

    def prepare(self, value: int) -> int:
        if value == 13:
            raise ValueError("unlucky")
        return value

    def process(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        self.started.release()
        assert self._permits.acquire(timeout=10)
        if 666 in batch:
            raise RuntimeError("broken")
        return [2 * value for value in batch]

    def go(self, batches: int = FOREVER) -> None:
        self._permits.release(batches)

    async def wait_until_started(self) -> None:
        assert await asyncio.to_thread(self.started.acquire, timeout=10)


def batcher_of(
    doubler: Doubler,
    *,
    max_batch: int = 8,
    max_queue: int = 8,
    threads: int = 1,
    on_batch: Callable[[str, int], None] = lambda _key, _size: None,
    on_wait: Callable[[str, float], None] = lambda _key, _seconds: None,
    on_processed: Callable[[str, BatchTimes], None] = lambda _key, _times: None,
) -> MicroBatcher[str, int, int, int]:
    batcher = MicroBatcher(
        doubler.prepare,
        doubler.process,
        max_batch=max_batch,
        max_queue=max_queue,
        threads=threads,
        on_batch=on_batch,
        on_wait=on_wait,
        on_processed=on_processed,
    )
    batcher.start()
    return batcher


def submit(
    batcher: MicroBatcher[str, int, int, int], value: int, deadline: float
) -> "asyncio.Future[int]":
    (future,) = batcher.submit("key", [value], deadline)
    return future


@pytest.mark.alone
async def test_lone_item_is_processed_at_once() -> None:
    batcher = batcher_of(Doubler())
    start = time.perf_counter()
    assert await submit(batcher, 21, deadline=10) == 42
    assert time.perf_counter() - start < 0.5
    await asyncio.to_thread(batcher.close)


async def test_waiting_items_form_a_batch_and_each_gets_its_own_result() -> None:
    process = Doubler(held=True)
    batcher = batcher_of(process)
    first = submit(batcher, 1, 10)
    await process.wait_until_started()
    waiting = [submit(batcher, value, 10) for value in (2, 3, 4)]
    process.go()
    assert await asyncio.gather(first, *waiting) == [2, 4, 6, 8]
    assert process.batches == [[1], [2, 3, 4]]
    await asyncio.to_thread(batcher.close)


async def test_batch_is_no_larger_than_allowed() -> None:
    process = Doubler(held=True)
    batcher = batcher_of(process, max_batch=2)
    first = submit(batcher, 1, 10)
    await process.wait_until_started()
    waiting = [submit(batcher, value, 10) for value in (2, 3, 4)]
    process.go()
    await asyncio.gather(first, *waiting)
    assert process.batches == [[1], [2, 3], [4]]
    await asyncio.to_thread(batcher.close)


async def test_idle_threads_share_the_queue() -> None:
    process = Doubler(held=True)
    batcher = batcher_of(process, threads=2)
    items = [submit(batcher, value, 10) for value in (1, 2)]
    await process.wait_until_started()
    await process.wait_until_started()
    process.go()
    await asyncio.gather(*items)
    assert sorted(process.batches) == [[1], [2]]
    await asyncio.to_thread(batcher.close)


async def test_keys_take_turns_and_share_no_batch() -> None:
    process = Doubler(held=True)
    batcher = batcher_of(process, max_batch=2)
    first = submit(batcher, 1, 10)
    await process.wait_until_started()
    waiting = [*batcher.submit("key", [2, 3, 4, 5], 10), *batcher.submit("other", [6], 10)]
    process.go()
    await asyncio.gather(first, *waiting)
    assert process.batches == [[1], [2, 3], [6], [4, 5]]
    await asyncio.to_thread(batcher.close)


async def test_full_queue_of_one_key_is_not_that_of_another() -> None:
    process = Doubler(held=True)
    batcher = batcher_of(process, max_queue=1)
    first = submit(batcher, 1, 10)
    await process.wait_until_started()
    (second,) = batcher.submit("key", [2], 10)
    with pytest.raises(QueueFullError):
        batcher.submit("key", [3], 10)
    (third,) = batcher.submit("other", [3], 10)
    process.go()
    assert [await item for item in (first, second, third)] == [2, 4, 6]
    await asyncio.to_thread(batcher.close)


async def test_full_queue_refuses() -> None:
    process = Doubler(held=True)
    batcher = batcher_of(process, max_queue=1)
    first = submit(batcher, 1, 10)
    await process.wait_until_started()
    second = submit(batcher, 2, 10)
    with pytest.raises(QueueFullError):
        submit(batcher, 3, 10)
    process.go()
    assert await asyncio.gather(*[first, second]) == [2, 4]
    await asyncio.to_thread(batcher.close)


async def test_items_that_do_not_all_fit_are_not_processed() -> None:
    process = Doubler(held=True)
    batcher = batcher_of(process, max_queue=2)
    first = submit(batcher, 1, 10)
    await process.wait_until_started()
    second = submit(batcher, 2, 10)
    with pytest.raises(QueueFullError):
        batcher.submit("key", [3, 4], 10)
    third = submit(batcher, 5, 10)
    process.go()
    assert await asyncio.gather(*[first, second, third]) == [2, 4, 10]
    assert process.batches == [[1], [2, 5]]
    await asyncio.to_thread(batcher.close)


async def test_cancelled_item_makes_room_and_is_not_processed() -> None:
    process = Doubler(held=True)
    batcher = batcher_of(process, max_queue=1)
    first = submit(batcher, 1, 10)
    await process.wait_until_started()
    submit(batcher, 2, 10).cancel()
    third = submit(batcher, 3, 10)
    process.go()
    assert await asyncio.gather(*[first, third]) == [2, 6]
    assert process.batches == [[1], [3]]
    await asyncio.to_thread(batcher.close)


async def test_cancelled_and_late_items_leave_the_queue() -> None:
    doubler = Doubler(held=True)
    batcher = batcher_of(doubler)
    busy = submit(batcher, 1, FOREVER)
    await doubler.wait_until_started()
    cancelled, late = submit(batcher, 2, FOREVER), submit(batcher, 3, 0.01)
    assert batcher.depth("key") == 2
    cancelled.cancel()
    batcher.drop_done()
    assert batcher.depth("key") == 1
    with pytest.raises(DeadlineExceededError):
        await late
    assert batcher.depth("key") == 0
    doubler.go()
    assert await busy == 2
    batcher.close()


async def test_cancelled_item_does_not_harm_the_rest_of_its_batch() -> None:
    process = Doubler(held=True)
    batcher = batcher_of(process)
    first = submit(batcher, 1, 10)
    await process.wait_until_started()
    cancelled, other = submit(batcher, 2, 10), submit(batcher, 3, 10)
    process.go(1)
    assert await first == 2
    await process.wait_until_started()
    cancelled.cancel()
    process.go()
    assert await other == 6
    assert process.batches == [[1], [2, 3]]
    await asyncio.to_thread(batcher.close)


async def test_late_item_fails_and_is_not_processed() -> None:
    process = Doubler(held=True)
    batcher = batcher_of(process)
    first = submit(batcher, 1, 10)
    await process.wait_until_started()
    with pytest.raises(DeadlineExceededError):
        await submit(batcher, 2, deadline=0.01)
    process.go()
    await first
    await asyncio.to_thread(batcher.close)
    assert process.batches == [[1]]


async def test_each_item_has_its_own_deadline() -> None:
    process = Doubler(held=True)
    batcher = batcher_of(process)
    start = time.perf_counter()
    deadlines = [10, 0.05, 0.2, 0.1]
    items = [submit(batcher, value, deadline) for value, deadline in enumerate(deadlines)]
    late = [False, True, True, True]
    for item, is_late in sorted(zip(items, late, strict=True), key=lambda pair: not pair[1]):
        if is_late:
            with pytest.raises(DeadlineExceededError):
                await item
    assert 0.19 < time.perf_counter() - start < 5
    process.go()
    assert await items[0] == 0
    await asyncio.to_thread(batcher.close)


async def test_failed_item_fails_alone() -> None:
    process = Doubler(held=True)
    batcher = batcher_of(process)
    first = submit(batcher, 1, 10)
    await process.wait_until_started()
    bad, good = submit(batcher, 13, 10), submit(batcher, 4, 10)
    process.go()
    with pytest.raises(ValueError, match="unlucky"):
        await bad
    assert await asyncio.gather(*[first, good]) == [2, 8]
    assert process.batches == [[1], [4]]
    await asyncio.to_thread(batcher.close)


async def test_failed_batch_fails_alone_and_the_thread_goes_on() -> None:
    batcher = batcher_of(Doubler())
    with pytest.raises(RuntimeError, match="broken"):
        await submit(batcher, 666, 10)
    assert await submit(batcher, 5, 10) == 10
    await asyncio.to_thread(batcher.close)


async def test_close_answers_what_is_queued() -> None:
    process = Doubler(held=True)
    batcher = batcher_of(process)
    items = [submit(batcher, value, 10) for value in (1, 2, 3)]
    closing = asyncio.create_task(asyncio.to_thread(batcher.close))
    await process.wait_until_started()
    process.go()
    await closing
    assert await asyncio.gather(*items) == [2, 4, 6]
    with pytest.raises(RuntimeError, match="closed"):
        submit(batcher, 4, 10)


async def test_batches_are_observed() -> None:
    sizes: list[int] = []
    waits: list[float] = []
    batcher = batcher_of(
        Doubler(),
        on_batch=lambda _, size: sizes.append(size),
        on_wait=lambda _, seconds: waits.append(seconds),
    )
    start = time.perf_counter()
    await submit(batcher, 1, 10)
    elapsed = time.perf_counter() - start
    await asyncio.to_thread(batcher.close)
    assert sizes == [1]
    assert len(waits) == 1
    assert 0 <= waits[0] <= elapsed


async def test_item_is_prepared_in_the_context_of_its_caller() -> None:
    caller: ContextVar[str] = ContextVar("caller", default="nobody")

    class Namer(Doubler):
        def prepare(self, value: int) -> int:
            seen.append(("prepare", caller.get()))
            return super().prepare(value)

    seen: list[tuple[str, str]] = []
    batcher = batcher_of(
        Namer(), on_wait=lambda _key, _seconds: seen.append(("wait", caller.get()))
    )
    caller.set("somebody")
    await submit(batcher, 1, 10)
    await asyncio.to_thread(batcher.close)
    assert seen == [("wait", "somebody"), ("prepare", "somebody")]


async def test_many_items_over_several_threads_all_get_their_result() -> None:
    batcher = batcher_of(Doubler(), max_queue=1000, threads=4)
    results = await asyncio.gather(*(submit(batcher, value, 10) for value in range(20, 600)))
    assert results == [2 * value for value in range(20, 600)]
    await asyncio.to_thread(batcher.close)


async def test_item_cancelled_while_its_batch_is_prepared_is_not_processed() -> None:
    class Cancelling(Doubler):
        def prepare(self, value: int) -> int:
            if value == 2:
                cancelled.get_loop().call_soon_threadsafe(cancelled.cancel)
                while not cancelled.done():
                    time.sleep(0.001)
            return super().prepare(value)

    process = Cancelling(held=True)
    batcher = batcher_of(process)
    first = submit(batcher, 1, 10)
    await process.wait_until_started()
    other, cancelled = submit(batcher, 2, 10), submit(batcher, 3, 10)
    process.go()
    assert await asyncio.gather(*[first, other]) == [2, 4]
    assert process.batches == [[1], [2]]
    await asyncio.to_thread(batcher.close)


async def test_stuck_thread_is_a_fault_and_a_busy_one_is_not() -> None:
    process = Doubler(held=True)
    batcher = batcher_of(process)
    assert batcher.fault(limit=0) is None  # idle
    item = submit(batcher, 1, 10)
    await process.wait_until_started()
    assert batcher.fault(limit=10) is None
    await asyncio.sleep(0.02)
    assert "compute-0 has been stuck" in str(batcher.fault(limit=0.01))
    process.go()
    await item
    await asyncio.to_thread(batcher.close)
    assert batcher.fault(limit=0) is None


@pytest.mark.alone
async def test_long_batch_that_makes_progress_is_not_stuck() -> None:
    class Slow(Doubler):
        def prepare(self, value: int) -> int:
            time.sleep(0.1)
            return super().prepare(value)

    batcher = batcher_of(Slow())
    items = asyncio.gather(*(submit(batcher, value, 10) for value in range(5)))
    while not items.done():
        assert batcher.fault(limit=0.3) is None
        await asyncio.sleep(0.01)
    await asyncio.to_thread(batcher.close)


async def test_times_of_a_batch_are_told_of_the_items_that_were_processed() -> None:
    told: list[tuple[str, BatchTimes]] = []
    process = Doubler(held=True)
    batcher = batcher_of(
        process, max_batch=3, on_processed=lambda key, times: told.append((key, times))
    )
    first = submit(batcher, 1, 10)
    await process.wait_until_started()
    rest = [submit(batcher, value, 10) for value in (2, 13, 3)]
    broken = [submit(batcher, value, 10) for value in (666, 4)]
    process.go()
    await asyncio.gather(first, *rest, *broken, return_exceptions=True)
    await asyncio.to_thread(batcher.close)
    assert [(key, times.size) for key, times in told] == [("key", 1), ("key", 2)]
    for _, times in told:
        assert min(times[1:]) >= 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_dead_thread_is_a_fault_and_its_items_can_be_abandoned() -> None:
    def die(_key: str, _size: int) -> None:
        raise SystemError("unhandled")

    batcher = batcher_of(Doubler(), on_batch=die)
    first = submit(batcher, 1, 10)
    while batcher.fault(limit=10) is None:
        await asyncio.sleep(0.001)
    assert batcher.fault(limit=10) == "The compute thread compute-0 has died."
    second = submit(batcher, 2, 10)
    batcher.abandon(QueueFullError("abandoned"))
    for item in (first, second):
        with pytest.raises(QueueFullError, match="abandoned"):
            await item
    await asyncio.to_thread(batcher.close)


async def test_items_of_a_stuck_thread_can_be_abandoned() -> None:
    process = Doubler(held=True)
    batcher = batcher_of(process)
    items = [submit(batcher, value, 10) for value in (1, 2)]
    await process.wait_until_started()
    batcher.abandon(QueueFullError("abandoned"))
    for item in items:
        with pytest.raises(QueueFullError, match="abandoned"):
            await item
    process.go()
    await asyncio.to_thread(batcher.close)
