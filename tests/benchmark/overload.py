"""`make overload`: five times the load that saturates the service, and whether it keeps its word.

    python -m tests.benchmark.overload [--rounds 3] [--seconds 12]

The load is made by wrk, whose clients honour `Retry-After`, with pictures of 500x375; what one more
client sees is measured beside it. Then the same with noise, of which a model is unsure, so that it
asks for second views. Then a few clients send pictures that take long to decode. All shares two
cores, and the service has its default settings.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median

from service.settings import Settings
from tests.benchmark.command import CORES, print_lines
from tests.benchmark.contestants import Stage, service
from tests.benchmark.large_pictures import measure_beside
from tests.benchmark.load import MEDIUM, Answers, Case, Wrk
from tests.benchmark.pictures import NOISE, make_noise, make_pictures
from tests.benchmark.servers import Probe, Server
from tests.benchmark.visitors import Answer, Visitor, percentile, recovery_s
from tests.benchmark.wire import form
from training import environment

PROBES = ("/health/live", "/health/ready")
TIMES = 5
# From this part of the peak on the service counts as saturated.
SATURATED = 0.95
# Of the time that lone requests took before, at the 99th percentile: what is normal.
NORMAL = 1.5


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: how often each overload is made.
        seconds: how long each lasts.
        peak_s: how long the peak is measured, before and after each, and on each step to it.
        rest_s: how long lone pictures are watched, before and after each.
        kinds: how many kinds of large pictures are sent.
        beside_s: how long small pictures are watched beside those of each kind.
        ladder: connections of the steps to the peak.
    """

    rounds: int = 3
    seconds: int = 12
    peak_s: int = 3
    rest_s: int = 4
    kinds: int = 5
    beside_s: int = 12
    ladder: Sequence[int] = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Round:
    """One overload, and the peak before and after it.

    Attributes:
        load: what the clients got.
        peaks: pictures answered a second without overload, beside the same other clients.
        per_s: pictures answered a second under overload.
        picture: what one more client got who sent pictures.
        probes: what orchestrators got, by path.
        recovery_s: seconds after the end until a lone picture took no longer than before.
    """

    load: Answers
    peaks: tuple[float, float]
    per_s: float
    picture: Sequence[Answer]
    probes: Mapping[str, Sequence[Answer]]
    recovery_s: float

    @property
    def kept(self) -> float:
        """The part of the peak that was kept."""
        return self.per_s / mean(self.peaks)


@dataclass(frozen=True)
class Watched:
    """What the clients of a load got, and what others got beside it."""

    load: Answers
    picture: Sequence[Answer]
    probes: Mapping[str, Sequence[Answer]]

    @property
    def per_s(self) -> float:
        """Pictures answered a second, those of the client beside the load included."""
        beside = sum(answer.status == 200 for answer in self.picture)
        return self.load.per_s(200) + beside / self.load.seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.overload")
    parser.add_argument("--rounds", type=int, default=Plan.rounds, help="how often")
    parser.add_argument("--seconds", type=int, default=Plan.seconds, help="of each overload")
    arguments = parser.parse_args(argv)
    plan = Plan(arguments.rounds, arguments.seconds)
    return print_lines(lambda scratch: measure(scratch, plan))


def measure(scratch: Path, plan: Plan) -> Iterator[str]:
    """Measures, and gives the lines of the report as they come.

    Raises:
        FileNotFoundError: wrk is missing.
        RuntimeError: wrk failed.
        StartError: the service cannot be started.
    """
    pictures = make_pictures([MEDIUM.pictures]) | {NOISE: make_noise()}
    wrk = Wrk(scratch, pictures)
    probe = Probe(pictures[MEDIUM.pictures][0])
    hardware = environment.hardware()
    yield f"{hardware}; wrk, the clients beside it and the service share {CORES} cores"
    with service(Stage(scratch, Path(sys.executable), probe, None)) as server:
        _peak(wrk, server, replace(MEDIUM, connections=plan.ladder[-1]), plan)  # warms up
        peaks = {n: _peak(wrk, server, replace(MEDIUM, connections=n), plan) for n in plan.ladder}
        yield "500x375 pictures, multipart, requests/s by connections: " + ", ".join(
            f"{n}: {peak:.0f}" for n, peak in peaks.items()
        )
        saturating = min(n for n, peak in peaks.items() if peak >= SATURATED * max(peaks.values()))
        for what, n in ("the CPUs", saturating), ("the queues", connections_of_full_queues()):
            yield f"\n{what} are full with {n} connections; now {TIMES * n}:"
            clients = replace(MEDIUM, connections=TIMES * n)
            yield from report(
                [_overload(wrk, server, clients, saturating, plan) for _ in range(plan.rounds)]
            )
        yield f"\nthe same clients, all of whom send noise ({clients.connections}):"
        noise, before = replace(clients, pictures=NOISE), server.second_views()
        yield from report(
            [_overload(wrk, server, noise, saturating, plan) for _ in range(plan.rounds)]
        )
        made = (int(now - then) for now, then in zip(server.second_views(), before, strict=True))
        yield "  second views: {} computed, {} skipped".format(*made)
        yield from measure_beside(server, plan.kinds, plan.beside_s, plan.rest_s)


def connections_of_full_queues() -> int:
    """How many connections fill the queues of the service, with its default settings."""
    settings = Settings(provider="cpu")
    return settings.worker_count * settings.max_queue


def _peak(wrk: Wrk, server: Server, case: Case, plan: Plan) -> float:
    return wrk.answers(server, case, plan.peak_s).per_s(200)


def _overload(wrk: Wrk, server: Server, clients: Case, saturating: int, plan: Plan) -> Round:
    """Lets so many clients send pictures, and looks at what others see meanwhile."""
    saturated = replace(clients, connections=saturating)
    peak_before = _watch(wrk, server, saturated, plan.peak_s).per_s
    with _picture_visitor(server) as before:
        time.sleep(plan.rest_s)
    seen = _watch(wrk, server, clients, plan.seconds, late=True)
    ended_at = time.perf_counter()
    with _picture_visitor(server) as after:
        time.sleep(plan.rest_s)
    normal_ms = NORMAL * percentile(before.answers, 99)
    return Round(
        load=seen.load,
        peaks=(peak_before, _watch(wrk, server, saturated, plan.peak_s).per_s),
        per_s=seen.per_s,
        picture=seen.picture,
        probes=seen.probes,
        recovery_s=recovery_s(after.answers, ended_at, normal_ms),
    )


def _watch(wrk: Wrk, server: Server, clients: Case, seconds: int, *, late: bool = False) -> Watched:
    """Lets clients send pictures; one more does, and two ask what orchestrators ask."""
    with ExitStack() as stack:
        picture = stack.enter_context(_picture_visitor(server)).answers
        probes = {path: stack.enter_context(Visitor(server, path)).answers for path in PROBES}
        load = wrk.answers(server, clients, seconds, late=late)
    return Watched(load, picture, probes)


def _picture_visitor(server: Server) -> Visitor:
    return Visitor(server, "/predict", form([server.probe.picture]), every_s=0.02)


def report(rounds: Sequence[Round]) -> Iterator[str]:
    """The figures of one kind of overload, each with its target, and what else was seen."""
    statuses: Counter[int] = Counter()
    for round_ in rounds:
        statuses.update(round_.load.statuses)
    pictures = [answer for round_ in rounds for answer in round_.picture]
    refused = [answer for answer in pictures if answer.status == 503]
    yield f"  answers by status: {dict(sorted(statuses.items()))}"
    kept = [round_.kept for round_ in rounds]
    yield _line("answered, of the peak", median(kept), median(kept) >= 0.95, "at least 0.95")
    yield f"    least {min(kept):.2f}, greatest {max(kept):.2f} of {len(rounds)} rounds"
    if refused:
        ms = median(answer.ms for answer in refused)
        yield _line("refusal, median ms", ms, ms < 50, "under 50")
        waits = [answer.retry_after or 0 for answer in refused]
        yield f"    Retry-After from {min(waits)} to {max(waits)} s"
    else:
        yield "  refusals: none"
    for path in PROBES:
        probes = [answer for round_ in rounds for answer in round_.probes[path]]
        ms = percentile(probes, 99)
        good = ms < 100 and {answer.status for answer in probes} == {200}
        yield _line(f"{path}, p99 ms", ms, good, "under 100, and always 200")
    slowest = max(round_.recovery_s for round_ in rounds)
    yield _line("back to normal after s", slowest, slowest <= 2, "within 2, each time")
    broken = sum(round_.load.broken for round_ in rounds)
    good = not broken and set(statuses) <= {200, 503}
    yield _line("broken connections", broken, good, "none, and no other status")


def _line(name: str, value: float, reached: bool, target: str) -> str:
    return f"  {name:<24} {value:8.2f}   {'met' if reached else 'MISSED'} ({target})"


if __name__ == "__main__":
    sys.exit(main())
