"""The end of a body that is not valid: an error in the app that reads it."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar
from weakref import WeakMethod

from service.errors import ServiceError

Message = TypeVar("Message")


class FailingReceive(Generic[Message]):
    """The app's `receive` for one request; raises the error that was found in the body.

    Attributes:
        error: that error, once it was found.
    """

    def __init__(self, receive: Callable[[], Awaitable[Message]]) -> None:
        """Wraps a method, which is not kept alive."""
        # Weak: the cycle holds this, and would wait for the collection of garbage.
        self._receive = WeakMethod(receive)
        self.error: ServiceError | None = None

    async def __call__(self) -> Message:
        """Receives the next message."""
        receive = self._receive()
        assert receive is not None, "the task of the request holds the cycle"
        message = await receive()
        if self.error is not None:
            raise self.error
        return message
