"""The rate limit of each API key."""

import asyncio
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
# How long a request waits for another process that counts, and how often it tries.
PATIENCE_S = 0.5
_RETRY_S = 0.005
# Sums of times are rounded; without this the last request of an allowance could be refused.
_ROUNDING_S = 1e-6

logger = logging.getLogger(__name__)


class RateLimit:
    """Limits the requests of each key, counted over all processes that share a folder.

    A key may spend its whole allowance at once; it is restored evenly over the period. This is the
    generic cell rate algorithm: all that is stored for a key is the time at which its allowance is
    complete again. (The stores of the package `limits` count for one process or need a server.)
    """

    def __init__(
        self, rate: str, folder: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Counts nothing yet.

        Args:
            rate: such as `100/minute`.
            folder: for a small file for each key.
            clock: returns the time in seconds, the same in all processes.
        """
        count, unit = rate.split("/")
        self._rate = rate
        self._period_s = _SECONDS[unit]
        self._cost_s = self._period_s / int(count)
        self._folder = folder
        self._clock = clock
        self._failing = False

    async def take(self, key: bytes) -> None:
        """Counts one request of a key.

        A request that cannot be counted is allowed: on a full disk, with too many open files, or
        while another process holds the file of the key for longer than `PATIENCE_S`.

        Args:
            key: the digest of the key.

        Raises:
            RateLimitedError: the allowance of the key is spent.
        """
        try:
            await self._count(self._folder / f"rate-{key.hex()}")
        except OSError as error:
            if not self._failing:
                fields = {"why": error.strerror}
                logger.error("rate limit not enforced", extra={"fields": fields})
            self._failing = True
        else:
            self._failing = False

    async def _count(self, path: Path) -> None:
        """Tries to count until no other process does; a blocking lock would stop the event loop."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._try_to_count(path)
                return
            except BlockingIOError:
                if time.monotonic() > give_up_at:
                    raise
            await asyncio.sleep(_RETRY_S)

    def _try_to_count(self, path: Path) -> None:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released when the file is closed
            now = self._clock()
            stored = os.pread(file, _TIME.size, 0)
            complete_at = max(now, _TIME.unpack(stored)[0] if stored else now) + self._cost_s
            if complete_at - now > self._period_s + _ROUNDING_S:
                wait = math.ceil(complete_at - now - self._period_s)
                raise RateLimitedError(
                    f"This API key is limited to {self._rate}; try again in {wait} s.", wait
                )
            os.pwrite(file, _TIME.pack(complete_at), 0)
        finally:
            os.close(file)
