"""How often a key may ask."""

import fcntl
import logging
import math
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

from service.errors import RateLimitedError

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_TIME = struct.Struct("d")

logger = logging.getLogger(__name__)


class RateLimit:
    """So many requests of each key in a time, counted over all processes that share a folder.

    A key may spend all of them at once; each comes back after its share of the time. (That is the
    generic cell rate algorithm: all that is known of a key is when its allowance is whole again.)
    """

    def __init__(
        self, rate: str, folder: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Counts nothing yet.

        Args:
            rate: such as `100/minute`.
            folder: for a small file for each key.
            clock: tells the time in seconds, to all processes the same.
        """
        count, unit = rate.split("/")
        self._rate = rate
        self._window = _SECONDS[unit]
        self._share = self._window / int(count)
        self._folder = folder
        self._clock = clock
        self._lenient = False

    def take(self, key: bytes) -> None:
        """Counts one request of a key; where there is no room to count in, lets it pass.

        Args:
            key: the digest of the key.

        Raises:
            RateLimitedError: it has asked too often.
        """
        try:
            self._count(self._folder / f"rate-{key.hex()}")
        except OSError as error:  # a full disk, or too many open files
            if not self._lenient:
                fields = {"why": error.strerror}
                logger.error("rates cannot be limited", extra={"fields": fields})
            self._lenient = True
        else:
            self._lenient = False

    def _count(self, path: Path) -> None:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # which ends with the file, or with this process
            now = self._clock()
            known = os.pread(file, _TIME.size, 0)
            whole_at = max(now, _TIME.unpack(known)[0] if known else now) + self._share
            if whole_at - now > self._window:
                wait = math.ceil(whole_at - now - self._window)
                raise RateLimitedError(
                    f"This API key may ask {self._rate}; try again in {wait} s.", wait
                )
            os.pwrite(file, _TIME.pack(whole_at), 0)
        finally:
            os.close(file)
