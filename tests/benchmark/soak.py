"""`make soak`: a million good and bad pictures, and whether the service grows.

    python -m tests.benchmark.soak [--requests 1000000]

The pictures come by wrk, raw and in forms by turns; half of them are damaged. Memory, open
files and threads of all processes are looked at after the first 50,000 and at the end.
"""

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from tests.benchmark.command import CORES, print_lines
from tests.benchmark.contestants import Stage, service
from tests.benchmark.load import Answers, Case, Wrk
from tests.benchmark.pictures import make_mixed_pictures
from tests.benchmark.servers import Probe, Server
from tests.benchmark.wire import raw
from training import environment

MIXED = "good and bad"
CASES = (Case("raw", 32, form=raw, pictures=MIXED), Case("form", 32, pictures=MIXED))
# The first look comes after so many requests, or after an eighth of fewer.
FIRST_LOOK = 50_000
FIRST_PART = 8
SLICE_S = 10
# How long the end of the connections may take before one looks.
SETTLE_S = 2
# What good and bad pictures may be answered with.
EXPECTED = {200, 400, 413, 415, 422}
MOST_GROWTH = 0.05


class Size(NamedTuple):
    """What the service holds when it is idle."""

    memory_mb: float
    open_files: int
    threads: int


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.soak")
    parser.add_argument("--requests", type=int, default=1_000_000, help="how many, at least")
    requests = parser.parse_args(argv).requests
    return print_lines(lambda scratch: soak(scratch, requests))


def soak(scratch: Path, requests: int) -> Iterator[str]:
    """Sends so many requests, and gives the lines of the report as they come.

    Raises:
        FileNotFoundError: wrk is missing.
        RuntimeError: wrk failed.
        StartError: the service cannot be started.
    """
    pictures = make_mixed_pictures()
    wrk = Wrk(scratch, {MIXED: pictures})
    yield f"{environment.hardware()}; wrk and the service share {CORES} cores"
    with service(Stage(scratch, Path(sys.executable), Probe(pictures[0]), None)) as server:
        started, statuses, broken = time.monotonic(), Counter[int](), 0
        sizes = []
        for goal in (min(FIRST_LOOK, requests // FIRST_PART), requests):
            for answers in _send(wrk, server, goal - statuses.total()):
                statuses.update(answers.statuses)
                broken += answers.broken
            time.sleep(SETTLE_S)
            sizes.append(Size(server.resident_mb(), server.open_files(), server.threads()))
            passed = time.monotonic() - started
            yield f"after {statuses.total():,} requests, {passed:.0f} s: {_describe(sizes[-1])}"
    yield f"answers by status: {dict(sorted(statuses.items()))}"
    yield from _judge(*sizes)
    good = not broken and set(statuses) <= EXPECTED
    yield f"  {_verdict(good)}: no connection broken ({broken}), and no other status"


def _send(wrk: Wrk, server: Server, requests: int) -> Iterator[Answers]:
    """Sends so many requests or a few more, in slices."""
    seconds = 1
    for case in cycle(CASES):
        answers = wrk.answers(server, case, seconds)
        yield answers
        sent = sum(answers.statuses.values())
        requests -= sent
        if requests <= 0:
            return
        seconds = min(SLICE_S, math.ceil(requests * answers.seconds / max(sent, 1)))


def _judge(first: Size, last: Size) -> Iterator[str]:
    growth = last.memory_mb / first.memory_mb - 1
    good = abs(growth) <= MOST_GROWTH
    yield f"  {_verdict(good)}: memory {growth:+.1%} (at most 5 %)"
    same = (first.open_files, first.threads) == (last.open_files, last.threads)
    yield f"  {_verdict(same)}: as many open files and threads as before"


def _describe(size: Size) -> str:
    return f"{size.memory_mb:.1f} MB, {size.open_files} open files, {size.threads} threads"


def _verdict(reached: bool) -> str:
    return "met" if reached else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
