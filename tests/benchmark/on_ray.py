"""What Ray Serve costs beside the service's own server: the same app, machine and pictures.

    python -m tests.benchmark.on_ray [--rounds 3]

Each round, of a minute, starts and measures each of them anew: the service with its two workers;
two replicas behind Ray's default proxy; and two behind HAProxy, by Ray's settings for throughput.
All run in Ray's environment, which `make test-ray` builds, and share two cores with wrk.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from tests.benchmark.command import CORES, print_lines
from tests.benchmark.environments import ROOT, version
from tests.benchmark.load import AT_64, BATCH, LONE, Case, Load, Wrk
from tests.benchmark.pictures import SMALL, make_pictures
from tests.benchmark.servers import Probe, Server
from training import environment

PYTHON = ROOT / ".venv-ray" / "bin" / "python"
CASES = (AT_64, LONE, BATCH)
SECONDS = 3
WARM_UP_S = 2
OWN = "own server"
COMMANDS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    OWN: ("service", {}),
    "Ray's proxy": ("tests.benchmark.ray_replicas", {}),
    "HAProxy": (
        "tests.benchmark.ray_replicas",
        {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_HA_PROXY": "1"},
    ),
}
Rounds = dict[tuple[str, Case], list[Load]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.on_ray")
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args(argv).rounds
    return print_lines(lambda scratch: measure(scratch, rounds))


def measure(scratch: Path, rounds: int) -> Iterator[str]:
    """Measures all of them so many times, and gives the lines of the report.

    Raises:
        StartError: one cannot be started.
        FileNotFoundError: wrk is not installed.
    """
    yield (
        f"{environment.hardware()}; wrk and each server share {CORES} cores; "
        f"Ray {version(PYTHON, 'ray')}; {rounds} rounds of {SECONDS} s"
    )
    pictures = {SMALL: make_pictures(())[SMALL]}
    wrk, seen = Wrk(scratch, pictures), Rounds()
    for _ in range(rounds):
        for name in COMMANDS:
            with _server(name, scratch, pictures[SMALL][0]) as server:
                wrk.run(server, AT_64, WARM_UP_S)
                for case in CASES:
                    seen.setdefault((name, case), []).append(wrk.run(server, case, SECONDS))
    for case in CASES:
        yield f"{case.name}:"
        for name in COMMANDS:
            yield f"  {name}: {_describe(seen[name, case], seen[OWN, case])}"


def _server(name: str, scratch: Path, picture: bytes) -> Server:
    module, environment = COMMANDS[name]
    settings = {
        "CIFAR10_MODELS": str(ROOT / "models"),
        "CIFAR10_PROVIDER": "cpu",
        "CIFAR10_LOG_FORMAT": "json",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        # Ray's default is 15, and whatever else runs on the machine would come first.
        "RAY_worker_niceness": "0",
    }
    folder = scratch / str(len(list(scratch.iterdir())))
    command = (PYTHON, "-m", module)
    return Server(name, command, folder, Probe(picture), {**settings, **environment})


def _describe(loads: Sequence[Load], own: Sequence[Load]) -> str:
    rates = [load.requests_per_s for load in loads]
    ratios = [a.requests_per_s / b.requests_per_s for a, b in zip(loads, own, strict=True)]
    return (
        f"{median(rates):,.0f} requests/s ({min(rates):,.0f} to {max(rates):,.0f}), "
        f"{median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f}); "
        f"p50 {median(load.p50_ms for load in loads):.1f} ms, "
        f"p99 {median(load.p99_ms for load in loads):.1f} ms, "
        f"{median(load.cpu_ms for load in loads):.2f} ms of processor time, "
        f"{median(load.memory_mb for load in loads):.0f} MB, "
        f"{sum(load.failed for load in loads)} failed"
    )


if __name__ == "__main__":
    sys.exit(main())
