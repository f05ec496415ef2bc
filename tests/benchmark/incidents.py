"""What clients notice when one of three instances behind HAProxy is killed, paused or restarted.

    .venv-dev/bin/python -m tests.benchmark.incidents [--rounds 3]

64 connections send small pictures to the default model; the balancer has the configuration that
ships. Clients, balancer and instances share two cores.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.benchmark.command import CORES, print_lines
from tests.benchmark.environments import ROOT
from tests.benchmark.pictures import SMALL, make_pictures
from tests.e2e.instances import Instances, balanced
from tests.e2e.load import Load
from training import environment

HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
CONNECTIONS = 64
BEFORE_S = 5
# Longer than the balancer waits for an answer before it repeats the request.
PAUSE_S = 20
AFTER_S = 5


@dataclass(frozen=True)
class Seen:
    """What clients noticed.

    Attributes:
        sent: requests that were sent.
        lost: those that were not answered with 200.
        gap_s: the longest time in which no request was answered.
        slow: answers that took over a second.
    """

    sent: int
    lost: int
    gap_s: float
    slow: int


def kill(instances: Instances) -> None:
    """Kills all processes of one, as when its container is killed."""
    instances.kill(HOSTS[0])


def pause(instances: Instances) -> None:
    """Pauses one, as `docker pause` does, and lets it go on."""
    instances.send(HOSTS[0], signal.SIGSTOP)
    time.sleep(PAUSE_S)
    instances.send(HOSTS[0], signal.SIGCONT)


def restart(instances: Instances) -> None:
    """Restarts each after the one before it is ready again."""
    for host in HOSTS:
        instances.stop(host)
        instances.add(host)


INCIDENTS = {"killed": kill, "paused": pause, "restarted one by one": restart}


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.incidents")
    parser.add_argument("--rounds", type=int, default=3, help="how often each happens")
    rounds = parser.parse_args(argv).rounds
    return print_lines(lambda scratch: measure(scratch, rounds))


def measure(scratch: Path, rounds: int) -> Iterator[str]:
    """Lets each happen so many times, and gives the lines of the report as they come."""
    yield f"{environment.hardware()}; clients, balancer and instances share {CORES} cores"
    for name, incident in INCIDENTS.items():
        for number in range(rounds):
            folder = scratch / f"{incident.__name__}-{number}"
            folder.mkdir()
            seen = observe(folder, incident)
            yield (
                f"{name}: {seen.sent:,} requests, {seen.lost} lost, {seen.slow} took over a "
                f"second, longest gap {seen.gap_s:.2f} s"
            )


def observe(folder: Path, incident: Callable[[Instances], None]) -> Seen:
    """Sends pictures before, during and after an incident."""
    picture = make_pictures(())[SMALL][0]
    with balanced(folder, HOSTS, models=ROOT / "models") as instances:
        instances.wait_for_all(picture)
        with Load(instances.url, picture, clients=CONNECTIONS, keep_alive=True) as load:
            time.sleep(BEFORE_S)
            incident(instances)
            time.sleep(AFTER_S)
    ends = sorted(sent.at + sent.seconds for sent in load.sent)
    return Seen(
        sent=len(load.sent),
        lost=len(load.failures) + load.refused,
        gap_s=max(later - earlier for earlier, later in pairwise(ends)),
        slow=sum(sent.seconds > 1 for sent in load.sent),
    )


if __name__ == "__main__":
    sys.exit(main())
