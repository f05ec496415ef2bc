"""Items that wait, each key in a queue of its own, and threads that take them."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic

from service.errors import QueueFullError
from service.inference.batching.items import In, Item, Key, Out

_POLL_S = 0.01


class BatchThread(threading.Thread, Generic[Key, In, Out]):
    """A thread, the batch that it has taken, and when its current step began (None: idle)."""

    def __init__(self, name: str, target: "Callable[[BatchThread[Key, In, Out]], None]") -> None:
        """Creates a thread that calls the target with itself."""
        super().__init__(name=name, target=target, args=(self,), daemon=True)
        self.batch: list[Item[Key, In, Out]] = []
        self.step_began_at: float | None = None


class BatchQueue(Generic[Key, In, Out]):
    """Threads that take items in batches, and the items that wait for them.

    An idle thread takes an item at once; batches form only while all threads are busy. All items of
    a batch have the same key, and keys take turns, so that none waits for more than a batch of each
    other one.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[BatchThread[Key, In, Out]], None],
        *,
        threads: int,
        max_batch: int,
    ) -> None:
        """Creates a queue whose threads begin with `start` and call `work` for each batch."""
        self._name = name
        self._work = work
        self._max_batch = max_batch
        # Those that are not empty; the first is next. None is kept once it is empty: a key may be
        # a model that is not served any more.
        self._queues: dict[Key, deque[Item[Key, In, Out]]] = {}
        self._lock = threading.Lock()
        # A threading.Condition wakes threads while its lock is still held: they would block twice.
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._idle = 0  # threads that wait for a wakeup that has not been sent
        self._closed = False
        self._thread_count = threads
        self._threads: list[BatchThread[Key, In, Out]] = []

    def start(self) -> None:
        """Starts the threads."""
        names = (f"{self._name}-{number}" for number in range(self._thread_count))
        self._threads = [BatchThread(name, self._run) for name in names]
        for thread in self._threads:
            thread.start()

    def depth(self, key: Key) -> int:
        """Number of items of a key that wait."""
        return len(self._queues.get(key, ()))

    def put(self, key: Key, items: Sequence[Item[Key, In, Out]], most: float) -> None:
        """Queues items of one key, all or none; call `wake` when there are no more.

        Raises:
            QueueFullError: more than `most` of this key would wait.
            RuntimeError: the queue is closed.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            if self.depth(key) + len(items) > most:
                raise QueueFullError()
            self._queues.setdefault(key, deque()).extend(items)

    def wake(self) -> None:
        """Lets all idle threads look for items."""
        with self._lock:
            idle, self._idle = self._idle, 0
        for _ in range(idle):
            self._wakeups.put(None)

    def drop_done(self) -> None:
        """Removes items from the queues whose future is done: they take room and memory."""
        with self._lock:
            waiting = {
                key: deque(item for item in queue if not item.future.done())
                for key, queue in self._queues.items()
            }
            self._queues = {key: queue for key, queue in waiting.items() if queue}

    def pending(self) -> list[Item[Key, In, Out]]:
        """Items that wait or are in work, and whose future is not done."""
        with self._lock:
            groups = [*(thread.batch for thread in self._threads), *self._queues.values()]
            return [item for group in groups for item in group if not item.future.done()]

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

    def finish(self) -> None:
        """Blocks until no item waits or is in work, or all threads are dead."""
        while any(thread.is_alive() for thread in self._threads) and self._is_busy():
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Ends the threads once no item waits; blocks."""
        with self._lock:
            self._closed = True
        self.wake()
        for thread in self._threads:
            thread.join()

    def _is_busy(self) -> bool:
        with self._lock:
            alive = [thread for thread in self._threads if thread.is_alive()]
            return bool(self._queues) or any(thread.batch for thread in alive)

    def _run(self, thread: BatchThread[Key, In, Out]) -> None:
        while self._wait(thread):
            self._work(thread)
            thread.batch, thread.step_began_at = [], None

    def _wait(self, thread: BatchThread[Key, In, Out]) -> bool:
        """Waits for items and takes a share of them; False once closed and empty."""
        while True:
            with self._lock:
                if self._can_take():
                    self._take(thread)
                    return True
                if self._closed and not self._queues:
                    return False
                self._idle += 1
            self._wakeups.get()

    def _take(self, thread: BatchThread[Key, In, Out]) -> None:
        """Takes from the next queue, which is then the last one; call it with the lock."""
        key = self._next_key()
        queue = self._queues.pop(key)
        thread.batch = [queue.popleft() for _ in range(self._share(len(queue)))]
        if queue:
            self._queues[key] = queue

    def _can_take(self) -> bool:
        return bool(self._queues)

    def _next_key(self) -> Key:
        return next(iter(self._queues))

    def _share(self, waiting: int) -> int:
        return min(-(-waiting // len(self._threads)), self._max_batch)
