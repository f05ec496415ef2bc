"""A bounded micro-batcher: items that wait are processed together; no item waits for a batch.

Items have a key, such as the model that computes them. Each key has a queue of its own. Items that
take long to prepare go through a lane of their own first. Threads process the batches that they
have prepared, or hand the items on to a device, such as a GPU, that processes one batch at a time.
"""

import asyncio
import contextvars
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from service.errors import DeadlineExceededError
from service.inference.batching.batch_queue import BatchQueue, BatchThread
from service.inference.batching.device_queue import DeviceQueue
from service.inference.batching.items import In, Item, Key, Out, settle, settle_soon
from service.inference.batching.slow_lane import Lane, LaneRule, SlowItemError
from service.observability.statistics import BatchTimes

# The resolution of an event loop's clock: a timer may fire this much too early.
_CLOCK_S = 0.001

Prepared = TypeVar("Prepared")


class MicroBatcher(Generic[Key, In, Prepared, Out]):
    """Hands waiting items to compute threads in batches; see `BatchQueue` for how they are made.

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
        has_device: Callable[[Key], bool] = lambda _key: False,
        on_batch: Callable[[Key, int], None] = lambda _key, _size: None,
        on_wait: Callable[[Key, float], None] = lambda _key, _seconds: None,
        on_processed: Callable[[Key, BatchTimes], None] = lambda _key, _times: None,
    ) -> None:
        """Creates a batcher whose compute threads begin with `start`.

        `prepare` prepares one item, in the context (contextvars) of its `submit`; an exception
        fails this item only. SlowItemError sends it to one of the `lanes`, and from there it may
        be sent on to a later one. `process` turns prepared items into as many results, in order;
        an exception fails all of them. That is done in the same thread, or for keys that have a
        device by two others in turn. At most `max_queue` items of each key wait, without those in
        lanes. `on_batch` is called with the key and the size of each batch, and `on_wait` with the
        key and the seconds that an item has waited in a queue, in the item's context.
        `on_processed` is called for each batch that `process` has answered, of those items that
        were prepared.
        """
        self._prepare = prepare
        self._process = process
        self._max_queue = max_queue
        self._on_batch = on_batch
        self._on_wait = on_wait
        self._on_processed = on_processed
        self._compute: BatchQueue[Key, In, Out] = BatchQueue(
            "compute", self._answer, threads=threads, max_batch=max_batch
        )
        self._lanes: dict[str, Lane[Key, In, Out]] = {
            name: Lane(name, rule, self._prepare_later) for name, rule in (lanes or {}).items()
        }
        self._has_device = has_device
        self._device = DeviceQueue[Key, Prepared, Out](self._use_device, max_batch=max_batch)
        self._queues: list[BatchQueue[Key, Any, Out]] = [self._compute, self._device]
        self._queues += self._lanes.values()
        self._threads = threads
        self._closed = False
        self._wake_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._answered_at = 0.0  # by the device
        self.seconds_per_item = 0.0

    def start(self) -> None:
        """Starts the compute threads, and those of the lanes."""
        self._compute.start()
        for lane in self._lanes.values():
            lane.start()

    def depth(self, key: Key) -> int:
        """Number of items of a key that wait, without those in lanes."""
        return self._compute.depth(key) + self._device.depth(key)

    def waiting(self, key: Key) -> int:
        """Number of items of a key that wait, those in lanes included."""
        return sum(queue.depth(key) for queue in self._queues)

    def fault(self, limit: float) -> str | None:
        """Describes a thread that is dead or has spent over `limit` seconds on one step."""
        return next((fault for queue in self._queues if (fault := queue.fault(limit))), None)

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
        self._compute.put(key, items, self._max_queue - self._device.depth(key))
        if not self._wake_scheduled:
            # Items that are submitted in the same iteration of the event loop form one batch.
            self._wake_scheduled = True
            loop.call_soon(self._wake)
        self._set_timer(loop, ends_at)
        return [item.future for item in items]

    def drop_done(self) -> None:
        """Removes items from the queues whose future is done: they take room and memory."""
        for queue in self._queues:
            queue.drop_done()

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
        self._device.close()

    def _wake(self) -> None:
        self._wake_scheduled = False
        self._compute.wake()

    def _pending(self) -> list[Item[Key, In, Out]]:
        return [item for queue in self._queues for item in queue.pending()]

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

    def _answer(self, thread: BatchThread[Key, In, Out]) -> None:
        """Prepares a batch, and processes it unless a device does."""
        items = [item for item in thread.batch if not item.future.done()]
        if not items:
            return
        if self._has_device(items[0].key):
            send = functools.partial(self._send_to_device, thread)
            settle_soon(self._prepare_all(thread, items, send))
            return
        start = time.perf_counter()
        self._observe_waits(items, start)
        prepared: dict[Item[Key, In, Out], Prepared] = {}
        answers = self._prepare_all(thread, items, prepared.__setitem__)
        ready = thread.step_began_at = time.perf_counter()
        if size := len(prepared) + len(answers):
            self._on_batch(items[0].key, size)
        if prepared:
            waited = sum(start - item.queued_at for item in prepared)
            answers.update(self._process_all(prepared, waited, ready - start))
        if answers:
            elapsed = time.perf_counter() - start
            self.seconds_per_item = elapsed / len(answers) / self._threads
            settle_soon(answers)

    def _prepare_all(
        self,
        thread: BatchThread[Key, In, Out],
        items: Sequence[Item[Key, In, Out]],
        go_on: Callable[[Item[Key, In, Out], Prepared], None],
    ) -> dict[Item[Key, In, Out], Out | Exception]:
        """Hands each item that could be prepared to `go_on`; returns the others with the reason."""
        failed: dict[Item[Key, In, Out], Out | Exception] = {}
        for item in items:
            thread.step_began_at = time.perf_counter()
            if item.future.done():  # cancelled while others were prepared
                continue
            try:
                go_on(item, item.context.run(self._prepare, item.value))
            except SlowItemError as slow:
                self._send_to_lane(item, slow)
            except Exception as error:
                failed[item] = error
        return failed

    def _process_all(
        self, prepared: Mapping[Item[Key, Any, Out], Prepared], waited_s: float, prepare_s: float
    ) -> dict[Item[Key, Any, Out], Out | Exception]:
        start = time.perf_counter()
        try:
            results = self._process(list(prepared.values()))
            answers = dict[Item[Key, Any, Out], Out | Exception](
                zip(prepared, results, strict=True)
            )
        except Exception as error:  # it fails these items; the thread goes on
            return dict.fromkeys(prepared, error)
        times = BatchTimes(len(prepared), waited_s, prepare_s, time.perf_counter() - start)
        self._on_processed(next(iter(prepared)).key, times)
        return answers

    def _send_to_device(
        self, thread: BatchThread[Key, In, Out], item: Item[Key, In, Out], value: Prepared
    ) -> None:
        assert thread.step_began_at is not None
        prepare_s = time.perf_counter() - thread.step_began_at
        # So that it has waited for the rest of the time.
        queued_at = item.queued_at + prepare_s
        self._device.add(
            Item(item.key, value, item.future, item.deadline, queued_at, item.context, prepare_s)
        )

    def _use_device(self, thread: BatchThread[Key, Prepared, Out]) -> None:
        """Processes a batch of items that are prepared."""
        items = {item: item.value for item in thread.batch if not item.future.done()}
        if not items:
            return
        start = thread.step_began_at = time.perf_counter()
        self._observe_waits(list(items), start)
        self._on_batch(thread.batch[0].key, len(items))
        waited = sum(start - item.queued_at for item in items)
        prepare_s = sum(item.prepare_s for item in items)
        settle_soon(self._process_all(items, waited, prepare_s))
        # The other thread may have given answers meanwhile.
        now, last = time.perf_counter(), self._answered_at
        self.seconds_per_item = (now - max(start, last)) / len(items)
        self._answered_at = now

    def _observe_waits(self, items: Sequence[Item[Key, Any, Out]], now: float) -> None:
        for item in items:
            item.context.run(self._on_wait, item.key, now - item.queued_at)

    def _send_to_lane(self, item: Item[Key, In, Out], slow: SlowItemError[In]) -> None:
        item.later, item.queued_at = slow.prepare, time.perf_counter()
        try:
            self._lanes[slow.lane].add(item, slow.cost)
        except Exception as error:
            settle_soon({item: error})

    def _prepare_later(self, thread: BatchThread[Key, In, Out]) -> None:
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
