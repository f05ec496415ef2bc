"""The `Retry-After` of refused clients."""

import math
import time
from collections.abc import Callable

# Where nothing else is known.
DEFAULT_S = 1
# Refused clients that return for each answer that is given. To refuse them again costs less than a
# tenth of an answer each.
RETURNS_PER_ANSWER = 0.5
MAX_WAIT_S = 60


class RetryAfter:
    """Spreads refused clients over time: each returns after the one before it.

    If all returned after the same time, they would meet a full queue again, and refusing them
    would cost more than answering others.
    """

    def __init__(
        self, seconds_per_answer: Callable[[], float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Starts without refused clients.

        Args:
            seconds_per_answer: gives the time from one answer to the next, at present.
            clock: tells the time in seconds.
        """
        self._seconds_per_answer = seconds_per_answer
        self._clock = clock
        self._last = -math.inf

    def next(self) -> int:
        """Seconds after which one more client may return, from 1 to `MAX_WAIT_S`."""
        now = self._clock()
        behind_last = self._last + self._seconds_per_answer() / RETURNS_PER_ANSWER
        self._last = min(max(now + 1, behind_last), now + MAX_WAIT_S)
        return math.ceil(self._last - now)
