"""How many bytes of requests wait for their answers in a process, over all protocols."""

from service.errors import QueueFullError


class PendingBytes:
    """Bytes of requests that are not answered yet.

    Attributes:
        count: how many there are; who takes bytes adds them, and subtracts them at the end.
    """

    def __init__(self, most: int) -> None:
        """Counts none yet; there may be `most`."""
        self._most = most
        self.count = 0

    def check(self, size: int, *, own: int) -> None:
        """Checks whether there is room for a request of `size` bytes beside all others.

        `own` are the bytes of this request that are counted already.

        Raises:
            QueueFullError: there is none.
        """
        if size and self.count - own + size > self._most:
            raise QueueFullError("Too many bytes are waiting; try again in a moment.")
