"""A server under test: how it is started, asked and ended, and what it costs."""

import http.client
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

import psutil

from tests.benchmark.environments import ROOT
from tests.benchmark.loopback import ask, free_port, sum_of_samples
from tests.benchmark.wire import Body, Form, form

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 5


class StartError(Exception):
    """A server cannot be started, or does not answer as it should."""


class Probe(NamedTuple):
    """A picture, all classes, and the class that an answer must name first, if it is known."""

    picture: bytes
    labels: Sequence[str] = ()
    expected: str | None = None

    def accepts(self, answer: str) -> bool:
        """Whether an answer is the expected one."""
        return self.expected is None or first_label(answer, self.labels) == self.expected


def first_label(answer: str, labels: Sequence[str]) -> str | None:
    """The first class that an answer names in quotes."""
    found = re.search(f'"({"|".join(map(re.escape, labels))})"', answer)
    return found[1] if found else None


class Batches(NamedTuple):
    """How many inferences there were, and of how many pictures in all."""

    inferences: float
    pictures: float


class SecondViews(NamedTuple):
    """How many pictures were computed twice, and how many should have been and were not."""

    computed: float
    skipped: float


@dataclass
class Server:
    """A server; as a context manager it runs, and has answered the probe.

    Attributes:
        name: its name.
        command: what starts it.
        scratch: a folder of its own: its home, with its log.
        probe: what it is asked at the start.
        environment: variables that it needs; its port it is told in BENCH_PORT and CIFAR10_PORT.
        path: where it takes pictures.
        form: how it takes them; None means in every form that there is.
        start_s: seconds from its start to its first answer.
    """

    name: str
    command: Sequence[str | Path]
    scratch: Path
    probe: Probe
    environment: Mapping[str, str] = field(default_factory=dict)
    path: str = "/predict"
    form: Form | None = None
    start_s: float = 0.0

    def __enter__(self) -> Self:
        self.port = free_port()
        self.scratch.mkdir(exist_ok=True)
        self._log = self.scratch / "log"
        started = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                list(map(str, self.command)),
                cwd=self.scratch,
                env=self._whole_environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_for_answer()
        except BaseException:
            self.__exit__()
            raise
        self.start_s = time.perf_counter() - started
        return self

    def __exit__(self, *_: object) -> None:
        """Asks it to stop, and ends what is left of it."""
        processes = list(self._processes())
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_S)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, STOP_TIMEOUT_S)
        self._process.wait(STOP_TIMEOUT_S)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, body: Body | None = None) -> tuple[int, str]:
        """Status and text of an answer: to a GET, or to a POST where there is a body."""
        return ask(self.port, path, body)

    def cpu_s(self) -> dict[int, float]:
        """CPU time that each of its processes has used, by their ids."""
        used = {}
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                used[process.pid] = times.user + times.system
        return used

    def memory_mb(self) -> float:
        """Memory of all its processes; what they share counts once."""
        total = 0
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total / 1e6

    def resident_mb(self) -> float:
        """Resident memory of all its processes; other programs on the machine do not change it."""
        return sum(process.memory_info().rss for process in self._processes()) / 1e6

    def open_files(self) -> int:
        """Number of files and connections that its processes have open."""
        return sum(process.num_fds() for process in self._processes())

    def threads(self) -> int:
        """Number of threads of its processes."""
        return sum(process.num_threads() for process in self._processes())

    def largest_process_mb(self) -> float:
        """The most memory that any one of its processes has had so far."""
        peaks = [0]
        for process in self._processes():
            with suppress(OSError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                peaks += [int(kib) * 1024 for kib in re.findall(r"VmHWM:\s+(\d+)", status)]
        return max(peaks) / 1e6

    def batches(self) -> Batches:
        """Its inferences so far, by the metrics of the service; zeros where it has none."""
        status, text = self.ask("/metrics")
        if status != 200:
            return Batches(0, 0)
        sums = (sum_of_samples(text, f"classifier_batch_size_{part}") for part in ("count", "sum"))
        return Batches(*sums)

    def second_views(self) -> SecondViews:
        """Its second views so far, by the metrics of the service."""
        metric = "classifier_second_views_total"
        samples = self.ask("/metrics")[1].splitlines()
        lines = [line for line in samples if line.startswith(f"{metric}{{")]
        return SecondViews(
            *(
                sum_of_samples("\n".join(line for line in lines if f'"{outcome}"' in line), metric)
                for outcome in SecondViews._fields
            )
        )

    def _processes(self) -> Iterator[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._process.pid)
            yield process
            yield from process.children(recursive=True)

    def _whole_environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("CIFAR10_")}
        return {
            **inherited,
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.scratch),
            "TMPDIR": str(self.scratch),
            "ORT_DISABLE_TELEMETRY": "1",
            "BENCH_PORT": str(self.port),
            "CIFAR10_PORT": str(self.port),
            **self.environment,
        }

    def _wait_for_answer(self) -> None:
        body = (self.form or form)([self.probe.picture])
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError, http.client.HTTPException):
                status, answer = self.ask(self.path, body)
                if status == 200:
                    if self.probe.accepts(answer):
                        return
                    raise StartError(f"it answers {answer[:200]} and not {self.probe.expected}")
            time.sleep(0.01)
        last = self._log.read_text(errors="replace").strip().splitlines() or ["it says nothing"]
        if self._process.poll() is None:
            raise StartError(f"no answer within {START_TIMEOUT_S} s; it says: {last[-1]}")
        raise StartError(f"it ended with status {self._process.returncode}: {last[-1]}")
