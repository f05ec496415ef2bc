"""A bounded micro-batcher: whatever is waiting goes together, and nothing waits for company."""

import asyncio
import contextlib
import contextvars
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from service.errors import DeadlineExceededError, QueueFullError

# Event loops keep time in milliseconds: a timer may be that early.
_CLOCK_S = 0.001

In = TypeVar("In")
Prepared = TypeVar("Prepared")
Out = TypeVar("Out")


@dataclass(slots=True, eq=False)
class _Item(Generic[In, Out]):
    value: In
    future: "asyncio.Future[Out]"
    deadline: float  # on the event loop's clock
    queued_at: float
    context: contextvars.Context


@dataclass(slots=True, eq=False)
class _Worker(Generic[In, Out]):
    """A thread, the batch that it is at, and since when it has been at its present step."""

    thread: threading.Thread
    batch: list[_Item[In, Out]] = field(default_factory=list)
    since: float | None = None


class MicroBatcher(Generic[In, Prepared, Out]):
    """Hands waiting items to worker threads in batches.

    An idle worker takes an item at once; batches form only while all workers are busy. An item
    whose caller has left or whose deadline has passed is dropped before it is prepared.

    Attributes:
        seconds_per_item: time from one result to the next, as the last batch had it.
    """

    def __init__(
        self,
        prepare: Callable[[In], Prepared],
        process: Callable[[Sequence[Prepared]], Sequence[Out]],
        *,
        max_batch: int,
        max_queue: int,
        threads: int,
        on_batch: Callable[[int], None] = lambda _size: None,
        on_wait: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """Starts the worker threads.

        Args:
            prepare: readies one item in a worker thread, in the context (contextvars) of its
                `submit`; what it raises fails that item alone.
            process: turns prepared items into as many results, in order, in the same thread;
                what it raises fails them all.
            max_batch: most items in one batch.
            max_queue: most items that may wait.
            threads: number of workers.
            on_batch: told the size of each batch.
            on_wait: told the seconds that each item has waited, in its context.
        """
        self._prepare = prepare
        self._process = process
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._on_batch = on_batch
        self._on_wait = on_wait
        self._queue: deque[_Item[In, Out]] = deque()
        self._lock = threading.Lock()
        # A condition would wake workers to a lock that is held still: they would wait twice.
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._idle = 0  # workers that nobody has rung for
        self._closed = False
        self._waking = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self.seconds_per_item = 0.0
        self._workers = [self._new_worker(i) for i in range(threads)]
        for worker in self._workers:
            worker.thread.start()

    @property
    def depth(self) -> int:
        """Number of items that wait."""
        return len(self._queue)

    def fault(self, limit: float) -> str | None:
        """Says which worker is dead, or has been at one step for more than `limit` seconds."""
        now = time.perf_counter()
        for worker in self._workers:
            since = worker.since
            if not worker.thread.is_alive() and not self._closed:
                return f"The compute thread {worker.thread.name} has died."
            if since is not None and now - since > limit:
                return (
                    f"The compute thread {worker.thread.name} has been stuck for "
                    f"{now - since:.0f} s."
                )
        return None

    def submit(self, value: In, deadline: float) -> "asyncio.Future[Out]":
        """Queues one item; call it on the event loop.

        Args:
            value: what `prepare` gets.
            deadline: seconds until the result is of no use.

        Returns:
            A future of the result; cancel it when nobody wants the result any more, and then
            `drop_done`. It raises DeadlineExceededError when the result comes too late.

        Raises:
            QueueFullError: too many items wait.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Out] = loop.create_future()
        ends_at = loop.time() + deadline
        item = _Item(value, future, ends_at, time.perf_counter(), contextvars.copy_context())
        if len(self._queue) >= self._max_queue:
            self.drop_done()
        with self._lock:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            if len(self._queue) >= self._max_queue:
                raise QueueFullError()
            self._queue.append(item)
        if not self._waking:
            # Once for all that the event loop has at hand now: they can go together.
            self._waking = True
            loop.call_soon(self._wake)
        self._set_timer(loop, ends_at)
        return future

    def drop_done(self) -> None:
        """Empties the queue of what nobody waits for: it takes up room, and may be large."""
        with self._lock:
            self._queue = deque(item for item in self._queue if not item.future.done())

    def abandon(self, reason: Exception) -> None:
        """Fails all items that wait or are being computed; call it on the event loop."""
        for item in self._unanswered():
            _settle(item, reason)
        self.drop_done()

    def close(self) -> None:
        """Processes what is queued, then stops the workers; call it off the event loop."""
        with self._lock:
            self._closed = True
        self._wake()
        for worker in self._workers:
            worker.thread.join()

    def _wake(self) -> None:
        self._waking = False
        with self._lock:
            idle, self._idle = self._idle, 0
        for _ in range(idle):
            self._wakeups.put(None)

    def _unanswered(self) -> list[_Item[In, Out]]:
        with self._lock:
            items = [item for worker in self._workers for item in worker.batch]
            return [item for item in (*items, *self._queue) if not item.future.done()]

    def _set_timer(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        """Sees to it that a deadline is not missed; one timer for all, for few items are late."""
        if deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = loop.call_at(deadline, self._fail_late, loop)

    def _fail_late(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time() + _CLOCK_S
        self._timer_at = math.inf
        for item in self._unanswered():
            if item.deadline > now:
                self._set_timer(loop, item.deadline)
            else:
                text = "The answer took too long; try again in a moment."
                _settle(item, DeadlineExceededError(text))
        self.drop_done()

    def _new_worker(self, number: int) -> _Worker[In, Out]:
        thread = threading.Thread(
            target=lambda: self._work(worker), name=f"compute-{number}", daemon=True
        )
        worker: _Worker[In, Out] = _Worker(thread)
        return worker

    def _work(self, worker: _Worker[In, Out]) -> None:
        while self._take(worker):
            self._answer(worker)
            worker.batch, worker.since = [], None

    def _take(self, worker: _Worker[In, Out]) -> bool:
        """Waits for items and takes a fair share of them; none once closed and drained."""
        while True:
            with self._lock:
                if self._queue:
                    share = min(-(-len(self._queue) // len(self._workers)), self._max_batch)
                    worker.batch = [self._queue.popleft() for _ in range(share)]
                    return True
                if self._closed:
                    return False
                self._idle += 1
            self._wakeups.get()

    def _answer(self, worker: _Worker[In, Out]) -> None:
        wanted = [item for item in worker.batch if not item.future.done()]
        if not wanted:
            return
        now = time.perf_counter()
        self._on_batch(len(wanted))
        for item in wanted:
            item.context.run(self._on_wait, now - item.queued_at)
        answers: list[tuple[_Item[In, Out], Out | Exception]] = []
        ready: list[_Item[In, Out]] = []
        prepared: list[Prepared] = []
        for item in wanted:
            worker.since = time.perf_counter()
            if item.future.done():  # its caller has left while others were prepared
                continue
            try:
                prepared.append(item.context.run(self._prepare, item.value))
                ready.append(item)
            except Exception as error:
                answers.append((item, error))
        worker.since = time.perf_counter()
        if ready:
            answers.extend(zip(ready, self._compute(prepared), strict=True))
        spent = time.perf_counter() - now
        self.seconds_per_item = spent / len(wanted) / len(self._workers)
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it the callers
            loop = wanted[0].future.get_loop()
            loop.call_soon_threadsafe(_settle_all, answers)

    def _compute(self, prepared: Sequence[Prepared]) -> Sequence[Out | Exception]:
        try:
            return self._process(prepared)
        except Exception as error:  # it fails these items, not the worker
            return [error] * len(prepared)


def _settle_all(answers: Sequence[tuple[_Item[In, Out], Out | Exception]]) -> None:
    """Wakes all callers of a batch in one turn of the loop, while the cache is hot."""
    for item, result in answers:
        _settle(item, result)


def _settle(item: _Item[In, Out], result: Out | Exception) -> None:
    if item.future.done():
        return
    if isinstance(result, Exception):
        item.future.set_exception(result)
    else:
        item.future.set_result(result)
