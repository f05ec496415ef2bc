"""One more client beside a load, who asks at a steady pace."""

import http.client
import threading
import time
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Self

from tests.benchmark.servers import Server
from tests.benchmark.wire import Body

TIMEOUT_S = 30
LEAST_ANSWERS = 2  # which a percentile needs


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        at: when it had come, on the clock of `time.perf_counter`.
        status: its status; 0 if the connection failed.
        ms: milliseconds from before the connection was made.
        retry_after: its `Retry-After`, in seconds.
    """

    at: float
    status: int
    ms: float
    retry_after: int | None


@dataclass
class Visitor:
    """Asks one path again and again, as a context manager, in a thread of its own.

    Each request takes a connection of its own, so that every worker is met.

    Attributes:
        server: what is asked.
        path: what for.
        body: what is sent; None stands for a GET.
        every_s: time from one request to the next, if the answer comes sooner.
        answers: what came so far.
    """

    server: Server
    path: str
    body: Body | None = None
    every_s: float = 0.05
    answers: list[Answer] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask_all)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _ask_all(self) -> None:
        due = time.perf_counter()
        while (
            not self._ended.wait(max(0.0, due - time.perf_counter()))
            or len(self.answers) < LEAST_ANSWERS
        ):
            self.answers.append(self._ask())
            due = max(due + self.every_s, time.perf_counter())

    def _ask(self) -> Answer:
        start = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=TIMEOUT_S)
        status, retry_after = 0, None
        try:
            if self.body is None:
                connection.request("GET", self.path)
            else:
                connection.request("POST", self.path, self.body.content, self.body.headers)
            answer = connection.getresponse()
            answer.read()
            status, retry_after = answer.status, answer.headers.get("Retry-After")
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        now = time.perf_counter()
        return Answer(now, status, (now - start) * 1000, int(retry_after) if retry_after else None)


def percentile(answers: list[Answer], percent: int) -> float:
    """Milliseconds within which so many percent of some answers came; at least two."""
    return quantiles([answer.ms for answer in answers], n=100, method="inclusive")[percent - 1]


def recovery_s(answers: list[Answer], ended_at: float, normal_ms: float) -> float:
    """Seconds after the end of a load until answers took no longer than normal, for good.

    Args:
        answers: of a visitor who went on after the end.
        ended_at: the end of the load.
        normal_ms: how long they may take; the median of a quarter of a second counts.
    """
    last = 0.0
    for quarter in range(int((answers[-1].at - ended_at) * 4)):
        start = ended_at + quarter / 4
        within = [answer.ms for answer in answers if start <= answer.at < start + 0.25]
        if not within or median(within) > normal_ms:
            last = (quarter + 1) / 4
    return last
