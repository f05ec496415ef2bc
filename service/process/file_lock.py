"""A lock among all workers, so that one large picture is decoded at a time."""

from typing import Self

import filelock

from service.errors import QueueFullError


class LargePictureLock(filelock.FileLock):
    """A file lock whose `with` block is entered by one thread of one process at a time.

    The kernel releases it when its holder dies, so a killed worker blocks no other.
    """

    def __enter__(self) -> Self:
        """Waits for the lock, for `timeout` seconds at most.

        Raises:
            QueueFullError: the lock is not free in time, or its file cannot be opened.
        """
        try:
            return super().__enter__()
        except OSError as error:  # `filelock.Timeout` is one
            raise QueueFullError(
                "Too many large pictures are waiting; try again in a moment."
            ) from error
