"""When clients who were refused may come again."""

import math
import time
from collections.abc import Callable

# So many of those who were refused return for each answer that is given. To refuse them again costs
# less than a tenth of an answer each.
RETURNS_PER_ANSWER = 0.5
MAX_WAIT_S = 60


class RetryAfter:
    """Gives each client who is refused the place in a row behind the one before.

    If all came again after the same time, they would all meet a full queue again, and refusing
    them would cost more than answering others.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Has promised nothing yet.

        Args:
            clock: tells the time in seconds.
        """
        self._clock = clock
        self._last = -math.inf

    def make(self, seconds_per_answer: float) -> int:
        """Makes an appointment.

        Args:
            seconds_per_answer: time from one answer to the next, at present.

        Returns:
            Seconds from now, from 1 to `MAX_WAIT_S`.
        """
        now = self._clock()
        behind_last = self._last + seconds_per_answer / RETURNS_PER_ANSWER
        self._last = min(max(now + 1, behind_last), now + MAX_WAIT_S)
        return math.ceil(self._last - now)
