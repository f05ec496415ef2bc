"""The load: clients in processes of their own, each with connections that stay open."""

import asyncio
import itertools
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import quantiles
from typing import NamedTuple, Self

import uvloop

from tests.benchmark.loopback import HOST
from tests.benchmark.wire import Body

TIMEOUT_S = 10
MOST_PROCESSES = 4
# Before a client asks again who got no answer, or was refused.
_PAUSE_S = 0.05
# Until all processes have begun.
_LEAD_S = 0.2


class Answer(NamedTuple):
    """One answer.

    Attributes:
        at: when it had come, on the monotonic clock, which all processes share.
        ms: milliseconds since the request was sent.
        status: its status; 0 where the connection failed.
    """

    at: float
    ms: float
    status: int


class Summary(NamedTuple):
    """What the clients saw: answers of status 200, and how many others."""

    per_s: float
    p50_ms: float | None
    p99_ms: float | None
    failed: int


class Clients:
    """Processes that send requests, as a context manager."""

    def __init__(self) -> None:
        """Begins with none; half of the processors are left to the service."""
        self._count = max(1, min(MOST_PROCESSES, len(os.sched_getaffinity(0)) // 2))
        # A fork would copy the threads of ONNX Runtime.
        self._pool = ProcessPoolExecutor(self._count, mp_context=get_context("spawn"))

    def __enter__(self) -> Self:
        # The pool starts a process only where no other waits for work.
        list(self._pool.map(time.sleep, [_LEAD_S] * self._count))
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def send(
        self, port: int, requests: Sequence[bytes], connections: int, seconds: float
    ) -> list[Answer]:
        """Sends requests over so many connections for so many seconds; returns all answers."""
        until = time.monotonic() + _LEAD_S + seconds
        count = min(self._count, connections)
        shares = [connections // count + (n < connections % count) for n in range(count)]
        futures = [self._pool.submit(_send, port, requests, share, until) for share in shares]
        return list(itertools.chain.from_iterable(future.result() for future in futures))


def summarise(answers: Sequence[Answer], start: float, end: float) -> Summary:
    """Sums up the answers that came between two moments."""
    within = [answer for answer in answers if start <= answer.at < end]
    good = [answer.ms for answer in within if answer.status == 200]
    cuts = quantiles(good, n=100, method="inclusive") if len(good) > 1 else None
    failed = len(within) - len(good)
    return Summary(
        len(good) / (end - start), cuts[49] if cuts else None, cuts[98] if cuts else None, failed
    )


def count_statuses(answers: Sequence[Answer]) -> str:
    """How many answers had each status, in words."""
    counts = sorted(Counter(answer.status for answer in answers).items())
    return ", ".join(f"{count:,} x {status or 'no answer'}" for status, count in counts) or "none"


def post(path: str, body: Body) -> bytes:
    """A request, ready to be sent."""
    fields = {"Host": HOST, "Content-Length": str(len(body.content)), **body.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body.content


def _send(port: int, requests: Sequence[bytes], connections: int, until: float) -> list[Answer]:
    """The work of one process."""
    answers: list[Answer] = []

    async def send_all() -> None:
        step = max(1, len(requests) // connections)
        starts = (requests[n * step % len(requests) :] for n in range(connections))
        clients = (_ask(port, itertools.cycle([*own, *requests]), until, answers) for own in starts)
        await asyncio.gather(*clients)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send_all())
    return answers


async def _ask(port: int, requests: Iterator[bytes], until: float, answers: list[Answer]) -> None:
    """One client, with one connection at a time."""
    while time.monotonic() < until:
        sent_at = time.monotonic()
        try:
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                is_open = True
                while is_open and (sent_at := time.monotonic()) < until:
                    writer.write(next(requests))
                    async with asyncio.timeout(TIMEOUT_S):
                        status, is_open = await _read(reader)
                    now = time.monotonic()
                    answers.append(Answer(now, (now - sent_at) * 1000, status))
                    if status == 503:
                        await asyncio.sleep(_PAUSE_S)
            finally:
                writer.close()
        except (OSError, EOFError):
            now = time.monotonic()
            answers.append(Answer(now, (now - sent_at) * 1000, 0))
            await asyncio.sleep(_PAUSE_S)


async def _read(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Status of an answer, and whether the connection stays open."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head[9:12]), b"\r\nconnection: close\r\n" not in head
