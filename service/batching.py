"""A bounded micro-batcher: whatever is waiting goes together, and nothing waits for company."""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from service.errors import DeadlineExceededError, QueueFullError

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(slots=True)
class _Item(Generic[In, Out]):
    value: In
    future: "asyncio.Future[Out]"
    queued_at: float = field(default_factory=time.perf_counter)


class MicroBatcher(Generic[In, Out]):
    """Hands waiting items to worker threads in batches.

    An idle worker takes an item at once; batches form only while all workers are busy. An item
    whose caller has left or whose deadline has passed is dropped before it is processed.
    """

    def __init__(
        self,
        process: Callable[[Sequence[In]], Sequence[Out | Exception]],
        *,
        max_batch: int,
        max_queue: int,
        threads: int,
        on_batch: Callable[[Sequence[float]], None] = lambda _waits: None,
    ) -> None:
        """Starts the worker threads.

        Args:
            process: turns a batch into as many results, in order; runs in a worker thread. An
                exception among the results fails its own item, one that is raised the batch.
            max_batch: most items in one batch.
            max_queue: most items that may wait.
            threads: number of workers.
            on_batch: told the seconds that each item of a batch has waited.
        """
        self._process = process
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._on_batch = on_batch
        self._queue: deque[_Item[In, Out]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._workers = [
            threading.Thread(target=self._work, name=f"worker-{i}", daemon=True)
            for i in range(threads)
        ]
        for worker in self._workers:
            worker.start()

    @property
    def depth(self) -> int:
        """Number of items that wait."""
        return len(self._queue)

    def submit(self, value: In, deadline: float) -> "asyncio.Future[Out]":
        """Queues one item; call it on the event loop.

        Args:
            value: what `process` gets.
            deadline: seconds until the result is of no use.

        Returns:
            A future of the result; cancel it when nobody wants the result any more. It raises
            DeadlineExceededError when the result comes too late.

        Raises:
            QueueFullError: too many items wait.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Out] = loop.create_future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            if len(self._queue) >= self._max_queue:
                self._queue = deque(item for item in self._queue if not item.future.done())
            if len(self._queue) >= self._max_queue:
                raise QueueFullError("Too many pictures are waiting; try again in a moment.")
            self._queue.append(_Item(value, future))
            self._changed.notify()
        timer = loop.call_later(deadline, _expire, future)
        future.add_done_callback(lambda _: timer.cancel())
        return future

    def close(self) -> None:
        """Processes what is queued, then stops the workers; call it off the event loop."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()

    def _work(self) -> None:
        while batch := self._take():
            wanted = [item for item in batch if not item.future.done()]
            if wanted:
                self._answer(wanted)

    def _take(self) -> list[_Item[In, Out]]:
        """Waits for items and takes a fair share of them; nothing once closed and drained."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            share = -(-len(self._queue) // len(self._workers))
            return [self._queue.popleft() for _ in range(min(share, self._max_batch))]

    def _answer(self, batch: list[_Item[In, Out]]) -> None:
        now = time.perf_counter()
        self._on_batch([now - item.queued_at for item in batch])
        results: Sequence[Out | Exception]
        try:
            results = self._process([item.value for item in batch])
        except Exception as error:  # it fails these items, not the worker
            results = [error] * len(batch)
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it the callers
            batch[0].future.get_loop().call_soon_threadsafe(_resolve, batch, results)


def _resolve(batch: list[_Item[In, Out]], results: Sequence[Out | Exception]) -> None:
    for item, result in zip(batch, results, strict=True):
        if item.future.done():
            continue
        if isinstance(result, Exception):
            item.future.set_exception(result)
        else:
            item.future.set_result(result)


def _expire(future: "asyncio.Future[Out]") -> None:
    if not future.done():
        future.set_exception(
            DeadlineExceededError("The answer took too long; try again in a moment.")
        )
