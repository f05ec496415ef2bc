"""Taking turns among several processes."""

import fcntl
import threading
import time
from io import TextIOWrapper
from pathlib import Path

from service.errors import QueueFullError

_RETRY_S = 0.02
_TOO_MANY = "Too many large pictures are waiting; try again in a moment."


class FileLock:
    """A lock among all processes that name one file: `with turn: ...`.

    The kernel opens it when its holder dies, so that a killed worker leaves nobody waiting.
    """

    def __init__(self, path: Path, patience_s: float) -> None:
        """Names the file.

        Args:
            path: the file, which need not exist.
            patience_s: longest time to wait for the turn, in seconds.
        """
        self._path = path
        self._patience_s = patience_s
        self._held = threading.local()

    def __enter__(self) -> None:
        """Waits for the turn.

        Raises:
            QueueFullError: it does not come in time, or no more files can be open.
        """
        deadline = time.monotonic() + self._patience_s
        try:
            file = self._path.open("w")
        except OSError as error:
            raise QueueFullError(_TOO_MANY) from error
        while not _lock(file):
            if time.monotonic() > deadline:
                file.close()
                raise QueueFullError(_TOO_MANY)
            time.sleep(_RETRY_S)
        self._held.file = file

    def __exit__(self, *_: object) -> None:
        """Passes the turn on."""
        self._held.file.close()


def _lock(file: TextIOWrapper) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
