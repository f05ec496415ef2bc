"""A lock among all workers, so that one huge picture is decoded at a time."""

import fcntl
import os
import threading
from pathlib import Path


# `filelock` polls, so a waiting thread may enter late and before another that came first.
class FileLock:
    """A lock whose `with` block is entered by one thread of one process at a time.

    Waiting threads enter it in the order in which they came. The kernel releases it when its holder
    dies, so a killed worker blocks no other.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file of the lock, or creates it; it stays open until the process ends.

        Raises:
            OSError: it cannot be opened.
        """
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._threads = threading.Lock()  # all threads share the open file

    def __enter__(self) -> None:
        """Waits for the lock."""
        self._threads.acquire()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *_: object) -> None:
        """Releases the lock."""
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()
