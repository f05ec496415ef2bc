"""A bounded micro-batcher: items that wait are processed together; no item waits for a batch.

Items have a key, such as the model that computes them. Each key has a queue of its own. Items that
take long to prepare go through a lane of their own first.
"""

import asyncio
import contextvars
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from service.errors import DeadlineExceededError
from service.inference.lane import Lane, LaneRule, SlowItemError
from service.inference.stage import In, Item, Key, Out, Stage, StageThread, settle, settle_soon
from service.observability.statistics import BatchTimes

# The resolution of an event loop's clock: a timer may fire this much too early.
_CLOCK_S = 0.001

Prepared = TypeVar("Prepared")


class MicroBatcher(Generic[Key, In, Prepared, Out]):
    """Hands waiting items to compute threads in batches; see `Stage` for how they are made.

    An item that was cancelled, or whose deadline has passed, is dropped before it is prepared.

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
        lanes: Mapping[str, LaneRule] | None = None,
        on_batch: Callable[[Key, int], None] = lambda _key, _size: None,
        on_wait: Callable[[Key, float], None] = lambda _key, _seconds: None,
        on_processed: Callable[[Key, BatchTimes], None] = lambda _key, _times: None,
    ) -> None:
        """Creates a batcher whose compute threads begin with `start`.

        `prepare` prepares one item, in the context (contextvars) of its `submit`; an exception
        fails this item only. SlowItemError sends it to one of the `lanes`, and from there it may
        be sent on to a later one. `process` turns prepared items into as many results, in order,
        in the same thread; an exception fails all of them. At most `max_queue` items of each key
        wait, without those in lanes. `on_batch` is called with the key and the size of each batch,
        and `on_wait` with the key and the seconds that an item has waited in a queue, in the item's
        context. `on_processed` is called for each batch that `process` has answered, of those items
        that were prepared.
        """
        self._prepare = prepare
        self._process = process
        self._max_queue = max_queue
        self._on_batch = on_batch
        self._on_wait = on_wait
        self._on_processed = on_processed
        self._compute: Stage[Key, In, Out] = Stage(
            "compute", self._answer, threads=threads, max_batch=max_batch
        )
        self._lanes: dict[str, Lane[Key, In, Out]] = {
            name: Lane(name, rule, self._prepare_later) for name, rule in (lanes or {}).items()
        }
        self._stages: list[Stage[Key, In, Out]] = [self._compute, *self._lanes.values()]
        self._threads = threads
        self._closed = False
        self._wake_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self.seconds_per_item = 0.0

    def start(self) -> None:
        """Starts the compute threads, and those of the lanes."""
        for stage in self._stages:
            stage.start()

    def depth(self, key: Key) -> int:
        """Number of items of a key that wait, without those in lanes."""
        return self._compute.depth(key)

    def waiting(self, key: Key) -> int:
        """Number of items of a key that wait, those in lanes included."""
        return sum(stage.depth(key) for stage in self._stages)

    def fault(self, limit: float) -> str | None:
        """Describes a thread that is dead or has spent over `limit` seconds on one step."""
        return next((fault for stage in self._stages if (fault := stage.fault(limit))), None)

    def submit(
        self, key: Key, values: Sequence[In], deadline: float
    ) -> "list[asyncio.Future[Out]]":
        """Queues items of one key, all or none; call it on the event loop.

        Returns:
            For each item a future, which raises DeadlineExceededError after `deadline` seconds, and
            QueueFullError where a lane has no room for it. When results are not wanted any more,
            cancel their futures and call `drop_done`.

        Raises:
            QueueFullError: the queue has no room for all of them.
            RuntimeError: the batcher is closed.
        """
        loop = asyncio.get_running_loop()
        now, ends_at = time.perf_counter(), loop.time() + deadline
        items: list[Item[Key, In, Out]] = [
            # Each has its own copy: a context cannot be entered by two threads at a time.
            Item(key, value, loop.create_future(), ends_at, now, contextvars.copy_context())
            for value in values
        ]
        if self._closed:
            raise RuntimeError("the batcher is closed")
        if self.depth(key) + len(items) > self._max_queue:
            self.drop_done()
        self._compute.put(key, items, self._max_queue)
        if not self._wake_scheduled:
            # Items that are submitted in the same iteration of the event loop form one batch.
            self._wake_scheduled = True
            loop.call_soon(self._wake)
        self._set_timer(loop, ends_at)
        return [item.future for item in items]

    def drop_done(self) -> None:
        """Removes items from the queues whose future is done: they take room and memory."""
        for stage in self._stages:
            stage.drop_done()

    def abandon(self, reason: Exception) -> None:
        """Fails all items that wait or are in work; call it on the event loop."""
        settle(dict.fromkeys(self._pending(), reason))
        self.drop_done()

    def close(self) -> None:
        """Processes the queues, then ends the threads; blocks, so call it off the event loop."""
        self._closed = True
        self._compute.finish()  # lanes get no more then
        for lane in self._lanes.values():
            lane.close()
        self._compute.close()

    def _wake(self) -> None:
        self._wake_scheduled = False
        self._compute.wake()

    def _pending(self) -> list[Item[Key, In, Out]]:
        return [item for stage in self._stages for item in stage.pending()]

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
                settle({item: DeadlineExceededError(text)})
        self.drop_done()

    def _answer(self, thread: StageThread[Key, In, Out]) -> None:
        items = [item for item in thread.batch if not item.future.done()]
        if not items:
            return
        start = time.perf_counter()
        for item in items:
            item.context.run(self._on_wait, item.key, start - item.queued_at)
        answers = self._prepare_and_process(thread, items)
        if answers:
            elapsed = time.perf_counter() - start
            self.seconds_per_item = elapsed / len(answers) / self._threads
            settle_soon(answers)

    def _prepare_and_process(
        self, thread: StageThread[Key, In, Out], items: Sequence[Item[Key, In, Out]]
    ) -> dict[Item[Key, In, Out], Out | Exception]:
        answers: dict[Item[Key, In, Out], Out | Exception] = {}
        prepared: dict[Item[Key, In, Out], Prepared] = {}
        started = time.perf_counter()
        for item in items:
            thread.step_began_at = time.perf_counter()
            if item.future.done():  # cancelled while others were prepared
                continue
            try:
                prepared[item] = item.context.run(self._prepare, item.value)
            except SlowItemError as slow:
                self._send_to_lane(item, slow)
            except Exception as error:
                answers[item] = error
        thread.step_began_at = ready = time.perf_counter()
        if size := len(prepared) + len(answers):
            self._on_batch(items[0].key, size)
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

    def _send_to_lane(self, item: Item[Key, In, Out], slow: SlowItemError[In]) -> None:
        item.later, item.queued_at = slow.prepare, time.perf_counter()
        try:
            self._lanes[slow.lane].add(item, slow.cost)
        except Exception as error:
            settle_soon({item: error})

    def _prepare_later(self, thread: StageThread[Key, In, Out]) -> None:
        """Prepares an item in a lane; then it waits for a batch like any other."""
        (item,) = thread.batch
        prepare, item.later = item.later, None
        if item.future.done() or prepare is None:
            return
        start = thread.step_began_at = time.perf_counter()
        item.context.run(self._on_wait, item.key, start - item.queued_at)
        try:
            item.value = item.context.run(prepare)
        except SlowItemError as slow:
            self._send_to_lane(item, slow)
        except Exception as error:
            settle_soon({item: error})
        else:
            item.queued_at = time.perf_counter()
            self._compute.put(item.key, [item], math.inf)
            self._compute.wake()
