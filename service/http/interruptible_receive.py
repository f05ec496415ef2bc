"""Tells an app that waits for a body that the body is not valid."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar
from weakref import WeakMethod

from service.errors import ServiceError

Event = TypeVar("Event")


class InterruptibleReceive(Generic[Event]):
    """The app's `receive` for one request; raises the error that was found in the body."""

    def __init__(self, receive: Callable[[], Awaitable[Event]]) -> None:
        """Wraps a method, which something else has to keep."""
        # Weak: with a strong reference only garbage collection would free the cycle.
        self._receive = WeakMethod(receive)
        self.error: ServiceError | None = None

    async def __call__(self) -> Event:
        """Waits for the next event.

        Raises:
            ServiceError: the body is not valid.
        """
        receive = self._receive()
        assert receive is not None, "the task of the request holds the cycle"
        event = await receive()
        if self.error is not None:
            raise self.error
        return event
