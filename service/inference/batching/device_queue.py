"""Batches for a device, such as a GPU, that computes one at a time while threads prepare others."""

from collections import deque
from collections.abc import Callable

from service.inference.batching.batch_queue import BatchQueue, BatchThread
from service.inference.batching.items import In, Item, Key, Out

# While the batch of one thread is computed, the other prepares its own or makes answers.
_THREADS = 2


class DeviceQueue(BatchQueue[Key, In, Out]):
    """A queue of two threads in front of one device, to which they hand their batches in turn.

    While the device computes a batch, the next one is taken only if it is full: what arrives
    meanwhile may still join it. An item waits for two full batches of each other key at most. The
    threads start with the first item, as most machines have no such device.
    """

    def __init__(
        self, work: Callable[[BatchThread[Key, In, Out]], None], *, max_batch: int
    ) -> None:
        """Creates a queue whose threads call `work` for each batch."""
        super().__init__("device", work, threads=_THREADS, max_batch=max_batch)
        self._busy = 0  # threads that have a batch
        self._last: Key | None = None

    def add(self, item: Item[Key, In, Out]) -> None:
        """Queues an item."""
        with self._lock:
            self._queues.setdefault(item.key, deque()).append(item)
            is_new, is_ready = not self._threads, self._can_take()
            if is_new:
                self.start()
        if is_ready and not is_new:
            self.wake()

    def _can_take(self) -> bool:
        if not self._busy or not self._queues:
            return bool(self._queues)
        return len(self._queues[self._next_key()]) >= self._max_batch

    def _next_key(self) -> Key:
        """The first, yet one that has just arrived does not wait for a third batch of another."""
        first = next(iter(self._queues))
        return next((key for key in self._queues if key != self._last), first)

    def _share(self, waiting: int) -> int:
        return min(waiting, self._max_batch)

    def _take(self, thread: BatchThread[Key, In, Out]) -> None:
        super()._take(thread)
        self._last = thread.batch[0].key
        self._busy += 1

    def _run(self, thread: BatchThread[Key, In, Out]) -> None:
        while self._wait(thread):
            self._work(thread)
            with self._lock:
                thread.batch, thread.step_began_at = [], None
                self._busy -= 1
                is_ready = self._can_take() or self._closed
            if is_ready:
                self.wake()
