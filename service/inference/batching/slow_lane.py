"""A lane of its own for items that take long to prepare, so that no other item waits for them."""

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.errors import QueueFullError
from service.inference.batching.batch_queue import BatchQueue, BatchThread
from service.inference.batching.items import Item

# On a busy processor, a thread that is this much nicer gets a tenth of the time.
NICENESS = 10
_MOST_NICE = 19
# So a step may take many times as long as one of another thread before it counts as stuck.
PATIENCE = 10

In = TypeVar("In")
Out = TypeVar("Out")
Key = TypeVar("Key", bound=Hashable)


class SlowItemError(Exception, Generic[In]):
    """Raised where an item takes long to prepare; says in which lane and how that is done.

    Attributes:
        lane: name of the lane.
        cost: about how long it takes there, in a unit of the caller's.
        prepare: returns a value that is quickly prepared, in place of the first one; it may raise
            another such error.
    """

    def __init__(self, lane: str, cost: float, prepare: Callable[[], In]) -> None:
        """Keeps what is to be done."""
        super().__init__(lane)
        self.lane, self.cost, self.prepare = lane, cost, prepare


@dataclass(frozen=True)
class LaneRule:
    """How a lane is made.

    Attributes:
        threads: how many items are prepared at a time.
        room: most cost that waits; a single item may have more.
        lock: held while an item is prepared, and waited for before one is taken.
    """

    threads: int
    room: float
    lock: AbstractContextManager[object]


class Lane(BatchQueue[Key, In, Out]):
    """A queue and threads with a lower priority, each of which takes one item at a time."""

    def __init__(
        self, name: str, rule: LaneRule, work: Callable[[BatchThread[Key, In, Out]], None]
    ) -> None:
        """Creates a lane whose threads begin with `start`."""
        super().__init__(name, work, threads=rule.threads, max_batch=1)
        self._rule = rule
        self._costs: dict[Item[Key, In, Out], float] = {}

    def add(self, item: Item[Key, In, Out], cost: float) -> None:
        """Queues an item.

        Raises:
            QueueFullError: there is no room.
            RuntimeError: the lane is closed.
        """
        self.drop_done()
        with self._lock:
            if self._closed:
                raise RuntimeError("the lane is closed")
            waiting = [item for queue in self._queues.values() for item in queue]
            self._costs = {item: self._costs[item] for item in waiting}
            if waiting and sum(self._costs.values()) + cost > self._rule.room:
                raise QueueFullError("Too many large pictures are waiting; try again in a moment.")
            self._costs[item] = cost
            self._queues.setdefault(item.key, deque()).append(item)
        self.wake()

    def fault(self, limit: float) -> str | None:
        """See `BatchQueue.fault`; to wait for the lock is no step."""
        return super().fault(PATIENCE * limit)

    def _run(self, thread: BatchThread[Key, In, Out]) -> None:
        _lower_priority()
        while self._wait_for_any():
            with self._rule.lock:
                with self._lock:
                    if self._queues:  # not dropped meanwhile
                        self._take(thread)
                if thread.batch:
                    self._work(thread)
                    thread.batch, thread.step_began_at = [], None

    def _wait_for_any(self) -> bool:
        """Waits for items; False once closed and empty."""
        while True:
            with self._lock:
                if self._queues or self._closed:
                    return bool(self._queues)
                self._idle += 1
            self._wakeups.get()


def _lower_priority() -> None:
    """Lets other threads go first, where the system knows priorities of threads."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # a sandbox
            niceness = os.getpriority(os.PRIO_PROCESS, thread) + NICENESS
            os.setpriority(os.PRIO_PROCESS, thread, min(niceness, _MOST_NICE))
