"""The figures that count, each a ratio of measurements of one and the same round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.benchmark.contestants import CONSTANT, IN_FULL, PEERS, PLAIN, SERVICE, WITH_VIEWS
from tests.benchmark.load import AT_64, AT_256, BATCH, LARGE, LONE, MEDIUM, RAW, Case, Load
from tests.benchmark.processor import AMX
from tests.benchmark.rounds import Round


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of the rounds."""

    median: float
    least: float
    greatest: float


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest of some values."""
    return Spread(median(values), min(values), max(values))


@dataclass(frozen=True)
class Target:
    """What a figure shall be.

    Attributes:
        name: what the figure says.
        value: the figure of one round; None if a server that it needs has failed.
        bound: its bound; None where none is set.
        at_least: whether the bound is the least value; else it is the greatest.
        unit: unit of the figure; a ratio has "x".
    """

    name: str
    value: Callable[[Round], float | None]
    bound: float | None
    at_least: bool = True
    unit: str = "x"

    def reached(self, value: float) -> bool:
        """Whether a value is within the bound."""
        assert self.bound is not None
        return value >= self.bound if self.at_least else value <= self.bound


def targets(precision: str, flags: Sequence[str]) -> tuple[Target, ...]:
    """The figures that count, with their bounds.

    Args:
        precision: of the model file, `float32` or another.
        flags: what the processor has, as in `processor.py`. Where computing takes less, HTTP is
            more of the whole, and other servers are further behind.
    """
    float32, amx = precision == "float32", AMX in flags
    best = 1.7 if float32 else (1.95 if amx else 1.65)
    plain = None if float32 else (1.95 if amx else 1.52)
    return (
        Target("requests/s against the best framework", _against_best, best),
        Target("the ideal, requests/s against that framework", _ideal_against_best, None),
        Target("99th percentile against that framework's", _p99_against_best, 1.0, False),
        Target("requests/s against plain FastAPI", _against_plain, plain),
        Target("multipart, requests/s against the ideal", lambda r: _of_ideal(r, AT_64), 0.95),
        Target("raw body, requests/s against its ideal", lambda r: _of_ideal(r, RAW), 0.87),
        Target("/predict/batch, pictures/s against computing alone", _batch_of_compute, 0.92),
        Target("lone request, latency against HTTP + computing", _lone, 1.15, False),
        Target("requests/s, 256 connections against 64", _at_256_of_64, 0.95),
        Target("500x375, requests/s against decoding in full", _medium_of_full, 1.6),
        Target("12 MP, times faster than decoding in full", _large_of_full, 3.0),
        Target("with second views, requests/s", lambda r: _with_views(r, AT_64), None),
        Target("500x375 with closer looks, requests/s", lambda r: _with_views(r, MEDIUM), None),
        Target("five times what fills the queues, answers against the peak", _kept, 0.95),
        Target(
            "start to first answer", lambda r: r.start_s[SERVICE], 1.5, at_least=False, unit="s"
        ),
        Target("memory of one process", lambda r: r.worker_mb, 200, False, " MB"),
    )


def compute_per_s(round_: Round) -> float:
    """Pictures a second without HTTP, at the best batch size."""
    return max(round_.ceilings.compute.values())


def ideal_per_s(round_: Round, case: Case) -> float:
    """Requests a second if HTTP and computing cost what they cost alone, and nothing else did."""
    http = round_.loads[CONSTANT][case.name].requests_per_s
    return 1 / (1 / http + 1 / compute_per_s(round_))


def _ours(round_: Round, case: Case) -> Load:
    return round_.loads[SERVICE][case.name]


def _best_framework(round_: Round) -> Load | None:
    names = [peer.name for peer in PEERS if peer.framework and peer.name in round_.loads]
    loads = [round_.loads[name][AT_64.name] for name in names]
    return max(loads, key=lambda load: load.requests_per_s, default=None)


def _against_best(round_: Round) -> float | None:
    best = _best_framework(round_)
    return _ours(round_, AT_64).requests_per_s / best.requests_per_s if best else None


def _ideal_against_best(round_: Round) -> float | None:
    best = _best_framework(round_)
    return ideal_per_s(round_, AT_64) / best.requests_per_s if best else None


def _p99_against_best(round_: Round) -> float | None:
    best = _best_framework(round_)
    return _ours(round_, AT_64).p99_ms / best.p99_ms if best else None


def _against_plain(round_: Round) -> float | None:
    plain = round_.loads.get(PLAIN)
    return _ours(round_, AT_64).requests_per_s / plain[AT_64.name].requests_per_s if plain else None


def _of_ideal(round_: Round, case: Case) -> float:
    return _ours(round_, case).requests_per_s / ideal_per_s(round_, case)


def _batch_of_compute(round_: Round) -> float:
    pictures_per_s = _ours(round_, BATCH).requests_per_s * BATCH.pictures_per_request
    return pictures_per_s / compute_per_s(round_)


def _lone(round_: Round) -> float:
    http_ms = round_.loads[CONSTANT][LONE.name].p50_ms
    return _ours(round_, LONE).p50_ms / (http_ms + round_.ceilings.lone_ms)


def _at_256_of_64(round_: Round) -> float:
    return _ours(round_, AT_256).requests_per_s / _ours(round_, AT_64).requests_per_s


def _medium_of_full(round_: Round) -> float:
    full = round_.loads[IN_FULL][MEDIUM.name]
    return _ours(round_, MEDIUM).requests_per_s / full.requests_per_s


def _large_of_full(round_: Round) -> float:
    return round_.loads[IN_FULL][LARGE.name].p50_ms / _ours(round_, LARGE).p50_ms


def _with_views(round_: Round, case: Case) -> float:
    return round_.loads[WITH_VIEWS][case.name].requests_per_s / _ours(round_, case).requests_per_s


def _kept(round_: Round) -> float:
    return round_.kept
