"""What small pictures wait beside large ones, which are cheap to send and slow to decode."""

import io
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice, pairwise
from statistics import median

import numpy as np
from PIL import Image

from tests.benchmark.pictures import CIFAR10, LARGER, enlarge
from tests.benchmark.servers import Server
from tests.benchmark.visitors import Answer, Visitor, percentile
from tests.benchmark.wire import form

CLIENTS = 3
# Times the median that small pictures take alone.
TIMES = 3
P99_MS = 50
_SCANS = 50
_SCAN = re.compile(rb"\xff\xda(?:[^\xff]|\xff\x00)*")


@dataclass(frozen=True)
class Beside:
    """What was seen beside large pictures of one kind.

    Attributes:
        name: the kind.
        alone: answers to small pictures alone.
        small: answers to small pictures beside the large ones.
        large: answers to the large ones.
        memory_mb: the most that one process has had so far.
    """

    name: str
    alone: list[Answer]
    small: list[Answer]
    large: list[Answer]
    memory_mb: float


def measure_beside(server: Server, kinds: int, seconds: float, alone_s: float) -> Iterator[str]:
    """Measures so many kinds, and gives the lines of the report as they come."""
    yield f"\nsmall pictures beside {CLIENTS} clients who send large ones without a pause:"
    for name, large in islice(make_large_pictures(), kinds):
        yield from report_beside(_beside(server, name, large, seconds, alone_s))


def _beside(server: Server, name: str, large: bytes, seconds: float, alone_s: float) -> Beside:
    small = form([server.probe.picture])
    with Visitor(server, "/predict", small, every_s=0.02) as alone:
        time.sleep(alone_s)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(Visitor(server, "/predict", form([large]), every_s=0))
            for _ in range(CLIENTS)
        ]
        time.sleep(0.2)
        with Visitor(server, "/predict", small, every_s=0.02) as beside:
            time.sleep(seconds)
    answers = sorted((it for client in clients for it in client.answers), key=lambda it: it.at)
    return Beside(name, alone.answers, beside.answers, answers, server.largest_process_mb())


def report_beside(seen: Beside) -> Iterator[str]:
    """The figures of one kind, each with its target."""
    alone, beside = (median(it.ms for it in answers) for answers in (seen.alone, seen.small))
    p99 = percentile(seen.small, 99)
    all_answered = {answer.status for answer in seen.small} == {200}
    good = [answer.at for answer in seen.large if answer.status == 200]
    refused = sum(answer.status == 503 for answer in seen.large)
    gap = max((after - before for before, after in pairwise(good)), default=float("inf"))
    yield f"  {seen.name}"
    is_met = all_answered and beside <= TIMES * alone
    yield _line("small, median ms", beside, is_met, f"at most {TIMES} x {alone:.2f} alone")
    target = f"under {P99_MS}; {percentile(seen.alone, 99):.2f} alone"
    yield _line("small, p99 ms", p99, all_answered and p99 < P99_MS, target)
    yield (
        f"    {len(seen.small)} small; large: {len(good)} answered, {refused} refused, "
        f"{len(seen.large) - len(good) - refused} otherwise, longest gap {gap:.1f} s; "
        f"largest process {seen.memory_mb:.0f} MB"
    )


def _line(name: str, value: float, reached: bool, target: str) -> str:
    return f"    {name:<22} {value:8.2f}   {'met' if reached else 'MISSED'} ({target})"


def make_large_pictures() -> Iterator[tuple[str, bytes]]:
    """A PNG, a GIF, a WebP and two JPEGs, each after what it is; always the same.

    All but that of a phone are made to cost as much as the service allows, and little to send.
    """
    yield "PNG, 7000x7000", _encode(_rows(7000), "PNG")
    yield "GIF, 7000x7000", _encode(_rows(7000).getchannel("R"), "GIF")
    yield "WebP, 5900x5900", _encode(_rows(5900), "WEBP", quality=50, method=0)
    # Its scans are small, because the blocks of its coefficients have one colour each.
    progressive = _encode(_rows(7000, repeat=16), "JPEG", quality=50, progressive=True)
    yield f"JPEG of {_SCANS} scans, 7000x7000", add_scans(progressive, _SCANS)
    width, height, _ = LARGER["12 MP"]
    (phone,) = enlarge([Image.open(min(CIFAR10.glob("*/*.jpg")))], width, height)
    yield "JPEG of a phone, 4000x3000", phone


def add_scans(progressive: bytes, count: int) -> bytes:
    """A JPEG whose smallest scan is repeated until there are so many."""
    scans: list[bytes] = _SCAN.findall(progressive)
    return progressive[:-2] + min(scans, key=len) * (count - len(scans)) + progressive[-2:]


def _rows(side: int, repeat: int = 1) -> Image.Image:
    """A square picture of one colour a row, or in so many rows."""
    colours = np.random.default_rng(0).integers(0, 256, (side, 1, 3), np.uint8)
    rows = np.repeat(colours, repeat, axis=0)[:side]
    return Image.fromarray(np.repeat(rows, side, axis=1))


def _encode(image: Image.Image, format_: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format_, **options)
    return out.getvalue()
