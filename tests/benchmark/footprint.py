"""What one request costs: processor time, bytes on the network, bytes of log; and one instance.

    .venv-dev/bin/python -m tests.benchmark.footprint

The figures with which docker/README.md plans a deployment. The service has its default settings and
shares two cores with wrk, whose processor time is not counted.
"""

import http.client
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, median

import psutil

from tests.benchmark.command import CORES, print_lines
from tests.benchmark.environments import ROOT
from tests.benchmark.load import AT_64, MEDIUM, RAW, Wrk
from tests.benchmark.pictures import make_pictures
from tests.benchmark.servers import Probe, Server
from tests.benchmark.wire import Body, form, raw
from tests.e2e.balancer import Names, balancer
from tests.e2e.load import wait_until
from training import environment

ROUNDS = 5
SECONDS = 5
CASES = (AT_64, RAW, MEDIUM, replace(MEDIUM, name="500x375, 64 connections, raw body", form=raw))
# So few that no queue is ever full.
ALONE = replace(MEDIUM, connections=2)


def measure(scratch: Path) -> Iterator[str]:
    """Measures, and gives the lines of the report as they come.

    Raises:
        FileNotFoundError: wrk or HAProxy is missing.
        RuntimeError: wrk failed.
        StartError: the service cannot be started.
    """
    pictures = make_pictures([MEDIUM.pictures])
    wrk = Wrk(scratch, pictures)
    yield f"{environment.hardware()}; wrk and the service share {CORES} cores"
    with _service(scratch / "service", pictures[AT_64.pictures][0]) as server:
        wrk.run(server, AT_64, SECONDS)  # warms up
        for case in CASES:
            loads = [wrk.run(server, case, SECONDS) for _ in range(ROUNDS)]
            yield f"{case.name}: pictures of {median(map(len, pictures[case.pictures])):,.0f} bytes"
            yield _spread("processor time of a request, ms", [load.cpu_ms for load in loads])
            yield _spread("requests/s beside wrk", [load.requests_per_s for load in loads])
        times = [_balancer_ms(wrk, server, scratch) for _ in range(ROUNDS)]
        yield _spread("processor time of HAProxy for a small request, ms", times)
        yield from _describe(server)
    with _service(scratch / "full", pictures[MEDIUM.pictures][0], CIFAR10_MAX_QUEUE="1") as server:
        refusals = [_refusal_ms(wrk, server) for _ in range(ROUNDS)]
        yield _spread("processor time of a refusal, ms", refusals)


def _service(scratch: Path, picture: bytes, **settings: str) -> Server:
    settings |= {"CIFAR10_PROVIDER": "cpu", "CIFAR10_MODELS": str(ROOT / "models")}
    return Server("service", (sys.executable, "-m", "service"), scratch, Probe(picture), settings)


def _spread(what: str, values: Sequence[float]) -> str:
    form = ".3f" if max(values) < 100 else ",.0f"
    least, greatest = min(values), max(values)
    return f"  {what}: {median(values):{form}} ({least:{form}} to {greatest:{form}}, {ROUNDS} runs)"


def _refusal_ms(wrk: Wrk, server: Server) -> float:
    """What is left of the processor time when that of the answers is taken away."""
    alone, full = (wrk.run(server, case, SECONDS) for case in (ALONE, MEDIUM))
    answers = full.requests_per_s * SECONDS
    return answers * (full.cpu_ms - alone.cpu_ms) / full.failed


def _balancer_ms(wrk: Wrk, server: Server, scratch: Path) -> float:
    """Sends small pictures through HAProxy."""
    with (
        tempfile.TemporaryDirectory(dir=scratch) as folder,
        Names("127.0.0.1") as names,
        balancer(names, server.port, Path(folder)) as url,
    ):
        public = Server("balancer", (), scratch, server.probe)
        public.port = int(url.rpartition(":")[2])
        wait_until(lambda: public.ask("/health/ready")[0] == 200)
        (process,) = (it for it in psutil.Process().children() if it.name() == "haproxy")
        before = process.cpu_times()
        answers = wrk.answers(public, AT_64, SECONDS)
        after = process.cpu_times()
    used_s = after.user + after.system - before.user - before.system
    return used_s / sum(answers.statuses.values()) * 1000


def _describe(server: Server) -> Iterator[str]:
    """What an instance takes, whatever is asked."""
    _, metrics = server.ask("/metrics")
    series = [line for line in metrics.splitlines() if line and not line.startswith("#")]
    yield f"memory: {server.memory_mb():.0f} MB"
    yield f"/metrics: {len(series)} series, {len(metrics):,} bytes"
    lines = (server.scratch / "log").read_bytes().splitlines(keepends=True)
    requests = [len(line) for line in lines if b'"/predict"' in line]
    yield f"log: {mean(requests):.0f} bytes a request"
    for of in (form, raw):
        yield f"answer to {of.__name__}: {_answer_bytes(server, of([server.probe.picture]))} bytes"


def _answer_bytes(server: Server, body: Body) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", "/predict", body.content, body.headers)
    answer = connection.getresponse()
    head = sum(len(f"{name}: {value}\r\n") for name, value in answer.getheaders())
    size = len("HTTP/1.1 200 OK\r\n\r\n") + head + len(answer.read())
    connection.close()
    return size


def main() -> int:
    """Measures and prints; returns the exit status."""
    return print_lines(measure)


if __name__ == "__main__":
    sys.exit(main())
