"""A bounded micro-batcher: items that wait are processed together; no item waits for a batch.

Items have a key, such as the model that computes them. Each key has a queue of its own.
"""

import asyncio
import contextlib
import contextvars
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.errors import DeadlineExceededError, QueueFullError
from service.observability.statistics import BatchTimes

# The resolution of an event loop's clock: a timer may fire this much too early.
_CLOCK_S = 0.001

In = TypeVar("In")
Prepared = TypeVar("Prepared")
Out = TypeVar("Out")
Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True, eq=False)
class _Item(Generic[Key, In, Out]):
    key: Key
    value: In
    future: "asyncio.Future[Out]"
    deadline: float  # on the event loop's clock
    queued_at: float
    context: contextvars.Context


class _Thread(threading.Thread, Generic[Key, In, Out]):
    """A compute thread, its current batch, and when its current step began (None: idle)."""

    def __init__(self, number: int, target: "Callable[[_Thread[Key, In, Out]], None]") -> None:
        super().__init__(name=f"compute-{number}", target=target, args=(self,), daemon=True)
        self.batch: list[_Item[Key, In, Out]] = []
        self.step_began_at: float | None = None


class MicroBatcher(Generic[Key, In, Prepared, Out]):
    """Hands waiting items to compute threads in batches.

    An idle thread takes an item at once; batches form only while all threads are busy. All items of
    a batch have the same key, and keys take turns, so that none waits for more than a batch of each
    other one. An item that was cancelled, or whose deadline has passed, is dropped before it is
    prepared.

    Attributes:
        seconds_per_item: seconds between two results, as measured on the last batch.
    """

    def __init__(
        self,
        prepare: Callable[[In], Prepared],
        process: Callable[[Sequence[Prepared]], Sequence[Out]],
        *,
        max_batch: int,
        max_queue: int,
        threads: int,
        on_batch: Callable[[Key, int], None] = lambda _key, _size: None,
        on_wait: Callable[[Key, float], None] = lambda _key, _seconds: None,
        on_processed: Callable[[Key, BatchTimes], None] = lambda _key, _times: None,
    ) -> None:
        """Creates a batcher whose compute threads begin with `start`.

        `prepare` prepares one item, in the context (contextvars) of its `submit`; an exception
        fails this item only. `process` turns prepared items into as many results, in order, in the
        same thread; an exception fails all of them. At most `max_queue` items of each key wait.
        `on_batch` is called with the key and the size of each batch, and `on_wait` with the key and
        the seconds that an item has waited, in the item's context. `on_processed` is called for
        each batch that `process` has answered, of those items that were prepared.
        """
        self._prepare = prepare
        self._process = process
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._on_batch = on_batch
        self._on_wait = on_wait
        self._on_processed = on_processed
        # Those that are not empty; the first is next. None is kept once it is empty: a key may be
        # a model that is not served any more.
        self._queues: dict[Key, deque[_Item[Key, In, Out]]] = {}
        self._lock = threading.Lock()
        # A threading.Condition wakes threads while its lock is still held: they would block twice.
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._idle = 0  # threads that wait for a wakeup that has not been sent
        self._closed = False
        self._wake_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self.seconds_per_item = 0.0
        self._thread_count = threads
        self._threads: list[_Thread[Key, In, Out]] = []

    def start(self) -> None:
        """Starts the compute threads."""
        self._threads = [_Thread(number, self._run) for number in range(self._thread_count)]
        for thread in self._threads:
            thread.start()

    def depth(self, key: Key) -> int:
        """Number of items of a key that wait."""
        return len(self._queues.get(key, ()))

    def fault(self, limit: float) -> str | None:
        """Describes a thread that is dead or has spent over `limit` seconds on one step."""
        now = time.perf_counter()
        for thread in self._threads:
            began_at, name = thread.step_began_at, f"The compute thread {thread.name}"
            if not thread.is_alive() and not self._closed:
                return f"{name} has died."
            if began_at is not None and now - began_at > limit:
                return f"{name} has been stuck for {now - began_at:.0f} s."
        return None

    def submit(
        self, key: Key, values: Sequence[In], deadline: float
    ) -> "list[asyncio.Future[Out]]":
        """Queues items of one key, all or none; call it on the event loop.

        Returns:
            For each item a future, which raises DeadlineExceededError after `deadline` seconds.
            When results are not wanted any more, cancel their futures and call `drop_done`.

        Raises:
            QueueFullError: the queue has no room for all of them.
            RuntimeError: the batcher is closed.
        """
        loop = asyncio.get_running_loop()
        now, ends_at = time.perf_counter(), loop.time() + deadline
        items: list[_Item[Key, In, Out]] = [
            # Each has its own copy: a context cannot be entered by two threads at a time.
            _Item(key, value, loop.create_future(), ends_at, now, contextvars.copy_context())
            for value in values
        ]
        room = self._max_queue - len(items)
        if self.depth(key) > room:
            self.drop_done()
        with self._lock:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            if self.depth(key) > room:
                raise QueueFullError()
            self._queues.setdefault(key, deque()).extend(items)
        if not self._wake_scheduled:
            # Items that are submitted in the same iteration of the event loop form one batch.
            self._wake_scheduled = True
            loop.call_soon(self._wake)
        self._set_timer(loop, ends_at)
        return [item.future for item in items]

    def drop_done(self) -> None:
        """Removes items from the queue whose future is done: they take room and memory."""
        with self._lock:
            waiting = {
                key: deque(item for item in queue if not item.future.done())
                for key, queue in self._queues.items()
            }
            self._queues = {key: queue for key, queue in waiting.items() if queue}

    def abandon(self, reason: Exception) -> None:
        """Fails all items that wait or are being computed; call it on the event loop."""
        _settle(dict.fromkeys(self._pending(), reason))
        self.drop_done()

    def close(self) -> None:
        """Processes the queue, then ends the threads; blocks, so call it off the event loop."""
        with self._lock:
            self._closed = True
        self._wake()
        for thread in self._threads:
            thread.join()

    def _wake(self) -> None:
        self._wake_scheduled = False
        with self._lock:
            idle, self._idle = self._idle, 0
        for _ in range(idle):
            self._wakeups.put(None)

    def _pending(self) -> list[_Item[Key, In, Out]]:
        with self._lock:
            groups = [*(thread.batch for thread in self._threads), *self._queues.values()]
            return [item for group in groups for item in group if not item.future.done()]

    def _set_timer(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        """Makes sure that a deadline is noticed; one timer serves all items, as few are late."""
        if deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = loop.call_at(deadline, self._fail_late, loop)

    def _fail_late(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time() + _CLOCK_S
        self._timer_at = math.inf
        for item in self._pending():
            if item.deadline > now:
                self._set_timer(loop, item.deadline)
            else:
                text = "The answer took too long; try again in a moment."
                _settle({item: DeadlineExceededError(text)})
        self.drop_done()

    def _run(self, thread: _Thread[Key, In, Out]) -> None:
        while self._take(thread):
            self._answer(thread)
            thread.batch, thread.step_began_at = [], None

    def _take(self, thread: _Thread[Key, In, Out]) -> bool:
        """Waits for items and takes an equal share of them; False once closed and empty."""
        while True:
            with self._lock:
                if self._queues:
                    self._take_next(thread)
                    return True
                if self._closed:
                    return False
                self._idle += 1
            self._wakeups.get()

    def _take_next(self, thread: _Thread[Key, In, Out]) -> None:
        """Takes from the first queue, which is then the last one."""
        key = next(iter(self._queues))
        queue = self._queues.pop(key)
        share = min(-(-len(queue) // len(self._threads)), self._max_batch)
        thread.batch = [queue.popleft() for _ in range(share)]
        if queue:
            self._queues[key] = queue

    def _answer(self, thread: _Thread[Key, In, Out]) -> None:
        items = [item for item in thread.batch if not item.future.done()]
        if not items:
            return
        start = time.perf_counter()
        self._on_batch(items[0].key, len(items))
        for item in items:
            item.context.run(self._on_wait, item.key, start - item.queued_at)
        answers = self._compute(thread, items)
        self.seconds_per_item = (time.perf_counter() - start) / len(items) / len(self._threads)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody awaits the futures
            items[0].future.get_loop().call_soon_threadsafe(_settle, answers)

    def _compute(
        self, thread: _Thread[Key, In, Out], items: Sequence[_Item[Key, In, Out]]
    ) -> dict[_Item[Key, In, Out], Out | Exception]:
        answers: dict[_Item[Key, In, Out], Out | Exception] = {}
        prepared: dict[_Item[Key, In, Out], Prepared] = {}
        started = time.perf_counter()
        for item in items:
            thread.step_began_at = time.perf_counter()
            if item.future.done():  # cancelled while others were prepared
                continue
            try:
                prepared[item] = item.context.run(self._prepare, item.value)
            except Exception as error:
                answers[item] = error
        thread.step_began_at = ready = time.perf_counter()
        if prepared:
            try:
                results = self._process(list(prepared.values()))
                answers.update(zip(prepared, results, strict=True))
            except Exception as error:  # it fails these items; the thread goes on
                answers.update(dict.fromkeys(prepared, error))
            else:
                waited = sum(started - item.queued_at for item in prepared)
                times = (waited, ready - started, time.perf_counter() - ready)
                self._on_processed(items[0].key, BatchTimes(len(prepared), *times))
        return answers


def _settle(answers: Mapping[_Item[Key, In, Out], Out | Exception]) -> None:
    """Settles a whole batch in one callback: one wakeup of the event loop is enough."""
    for item, result in answers.items():
        if item.future.done():
            continue
        if isinstance(result, Exception):
            item.future.set_exception(result)
        else:
            item.future.set_result(result)
