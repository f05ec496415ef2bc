"""wrk against one server: how many requests a second, how fast, and at what cost."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmark.pictures import SMALL
from tests.benchmark.servers import Server
from tests.benchmark.wire import Form, form, form_of_many, raw

SCRIPT = Path(__file__).with_name("wrk.lua")
# A request that takes longer counts as failed.
TIMEOUT_S = 10


@dataclass(frozen=True)
class Case:
    """What is sent: which pictures, in which form, over how many connections at once."""

    name: str
    connections: int
    form: Form = form
    pictures: str = SMALL
    path: str = "/predict"
    pictures_per_request: int = 1


LONE = Case("1 connection", 1)
AT_16 = Case("16 connections", 16)
AT_64 = Case("64 connections", 64)
AT_256 = Case("256 connections", 256)
RAW = Case("64 connections, raw body", 64, form=raw)
BATCH = Case(
    "/predict/batch, 32 pictures",
    8,
    form=form_of_many,
    path="/predict/batch",
    pictures_per_request=32,
)
MEDIUM = Case("500x375, 64 connections", 64, pictures="500x375")
LARGE = Case("12 MP, 1 connection", 1, pictures="12 MP")


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw, and what it cost the server.

    Attributes:
        requests_per_s: answered requests a second.
        p50_ms: median of their latency.
        p99_ms: 99th percentile of their latency.
        failed: requests without an answer, or with a status of 400 or more.
        cpu_ms: CPU time of all processes of the server for each request.
        memory_mb: memory of all processes of the server at the end.
        batch_size: mean number of pictures in an inference; None if the server does not tell.
        balance: CPU time of the second busiest process of the server against the busiest.
    """

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    cpu_ms: float
    memory_mb: float
    batch_size: float | None
    balance: float


@dataclass(frozen=True)
class Answers:
    """What clients got who honour `Retry-After`.

    Attributes:
        seconds: how long they asked.
        statuses: number of answers of each status.
        broken: connections that failed, and requests that took longer than `TIMEOUT_S`.
    """

    seconds: float
    statuses: Mapping[int, int]
    broken: int

    def per_s(self, status: int) -> float:
        """Answers of this status a second."""
        return self.statuses.get(status, 0) / self.seconds


class Wrk:
    """The load generator."""

    def __init__(self, scratch: Path, pictures: dict[str, list[bytes]]) -> None:
        """Finds wrk.

        Args:
            scratch: a folder for the bodies of the requests.
            pictures: the pictures of each name.

        Raises:
            FileNotFoundError: wrk is not installed.
        """
        found = shutil.which("wrk")
        if found is None:
            raise FileNotFoundError("wrk is not installed (on Debian: apt-get install wrk)")
        self._wrk = found
        self._scratch = scratch
        self._pictures = pictures

    def run(self, server: Server, case: Case, seconds: float) -> Load:
        """Sends requests for so many seconds, in whole numbers.

        Raises:
            RuntimeError: wrk failed, or no request was answered.
        """
        before, batches = server.cpu_s(), server.batches()
        seen = self._send(server, case, seconds)
        requests = seen["requests"]
        if not requests:
            raise RuntimeError(f"{server.name} answered no request in {seconds:g} s")
        inferences, pictures = (b - a for a, b in zip(batches, server.batches(), strict=True))
        cpu_s = sorted(
            (total - before.get(process, 0) for process, total in server.cpu_s().items()),
            reverse=True,
        )
        return Load(
            requests_per_s=requests / seen["seconds"],
            p50_ms=seen["p50_ms"],
            p99_ms=seen["p99_ms"],
            failed=int(seen["failed"]),
            cpu_ms=sum(cpu_s) / requests * 1000,
            memory_mb=server.memory_mb(),
            batch_size=pictures / inferences if inferences else None,
            balance=cpu_s[1] / cpu_s[0] if len(cpu_s) > 1 else 0.0,
        )

    def answers(self, server: Server, case: Case, seconds: float, *, late: bool = False) -> Answers:
        """Sends requests for so many seconds, with clients who honour `Retry-After`.

        Args:
            server: who is asked.
            case: what is sent.
            seconds: for how long, in whole numbers.
            late: whether the clients come one after another in the first second.

        Raises:
            RuntimeError: wrk failed.
        """
        seen = self._send(server, case, seconds, "patient", str(case.connections if late else 0))
        statuses = {int(status): count for status, count in seen["statuses"].items()}
        return Answers(seen["seconds"], statuses, seen["broken"])

    def _send(self, server: Server, case: Case, seconds: float, *how: str) -> dict[str, Any]:
        path = case.path if server.form is None else server.path
        command = [
            *(self._wrk, "--threads", "1", "--connections", str(case.connections)),
            *("--duration", f"{seconds:g}s", "--timeout", f"{TIMEOUT_S}s"),
            *("--script", str(SCRIPT), server.url + path),
            *("--", str(self._bodies(case, server.form or case.form)), *how),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30)
        reports = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if not reports:
            raise RuntimeError(f"wrk failed: {(done.stderr or done.stdout).strip()}")
        seen: dict[str, Any] = json.loads(reports[0])
        return seen

    def _bodies(self, case: Case, form: Form) -> Path:
        """The folder that holds the bodies of a case."""
        name = f"{form.__name__}-{case.pictures}-{case.pictures_per_request}".replace(" ", "-")
        folder = self._scratch / name
        if not folder.exists():
            folder.mkdir()
            for number, uploads in enumerate(self._uploads(case)):
                body = form(uploads)
                (folder / f"{number}.body").write_bytes(body.content)
            headers = (f"{key}: {value}\n" for key, value in body.headers.items())
            (folder / "headers").write_text("".join(headers))
        return folder

    def _uploads(self, case: Case) -> list[Sequence[bytes]]:
        """The pictures of each request, such that every picture is the first of one."""
        pictures = self._pictures[case.pictures]
        twice = pictures * 2
        return [twice[i : i + case.pictures_per_request] for i in range(len(pictures))]
