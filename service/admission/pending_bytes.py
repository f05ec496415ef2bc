"""Counts the bytes of requests that wait for an answer in a process, in all protocols."""

from service.errors import QueueFullError


class PendingBytes:
    """Bytes of requests that are not answered yet.

    Attributes:
        count: how many there are.
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

    def add(self, size: int) -> None:
        """Counts bytes that have arrived, until they are removed."""
        self.count += size

    def remove(self, size: int) -> None:
        """Stops counting them, because their request was answered."""
        self.count -= size
