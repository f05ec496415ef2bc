"""How many messages may be arriving at a time: gRPC does not say how much of one is there."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from service.errors import QueueFullError, ServiceError, SlowBodyError

# Arriving messages are looked at so often, in seconds. In the moment until the third look, a tenth
# of a second or a little more, little arrives, and most messages are there.
LOOK_S = 0.05
MOMENT = 3


@dataclass(eq=False, slots=True)
class _Arrival:
    task: "asyncio.Task[object]"
    deadline: float
    looks: int = 0
    has_place: bool = False
    error: ServiceError | None = None


class Arrivals:
    """Waits for messages, and bounds the memory of those that are not whole.

    Any number may arrive within a moment. One that takes longer needs a place, because it may have
    nearly its largest size, until it is whole.

    Attributes:
        taken: how many places are taken.
    """

    def __init__(self, places: int, max_seconds: float) -> None:
        """Has so many places; no message may take longer than `max_seconds`."""
        self._places = places
        self._max_seconds = max_seconds
        self._arriving: dict[_Arrival, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.taken = 0

    async def next(self, messages: AsyncIterator[bytes]) -> bytes:
        """Waits for the next message.

        Raises:
            StopAsyncIteration: there is none.
            QueueFullError: it takes longer than a moment, and there is no place.
            SlowBodyError: it takes too long.
        """
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        arrival = _Arrival(task, loop.time() + self._max_seconds)
        self._arriving[arrival] = None
        if self._timer is None:
            self._timer = loop.call_later(LOOK_S, self._look)
        try:
            return await anext(messages)
        except asyncio.CancelledError:
            # Something else may have cancelled the task too: `uncancel` tells.
            if arrival.error is not None and not task.uncancel():
                raise arrival.error from None
            raise
        finally:
            del self._arriving[arrival]
            self.taken -= arrival.has_place

    def _look(self) -> None:
        """Gives places to messages that take longer than a moment, or ends them."""
        loop = asyncio.get_running_loop()
        for arrival in self._arriving:
            arrival.looks += 1
            if arrival.error is not None:
                continue
            if arrival.deadline <= loop.time():
                arrival.error = SlowBodyError(
                    f"The message took longer than {self._max_seconds:g} s to arrive; "
                    "send less at a time."
                )
            elif arrival.looks >= MOMENT and not arrival.has_place:
                if self.taken < self._places:
                    arrival.has_place = True
                    self.taken += 1
                else:
                    arrival.error = QueueFullError(
                        "Too many messages are arriving slowly; try again in a moment."
                    )
            if arrival.error is not None:
                arrival.task.cancel()
        self._timer = loop.call_later(LOOK_S, self._look) if self._arriving else None
