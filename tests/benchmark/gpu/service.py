"""The service under test: started with some settings, asked, and ended."""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from service.settings import Settings
from tests.benchmark import loopback
from tests.benchmark.wire import Body

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 10
_POLL_S = 0.01
# What the environment may say of the model and of how it is computed; the rest is as by default.
_KEPT = ("models", "model", "model_version", "variant", "max_batch", "threads")


class Service:
    """A service on a free port; as a context manager it is ended at the end.

    Attributes:
        port: its port.
        ready_s: seconds from its start until it could answer.
    """

    def __init__(
        self,
        settings: Settings,
        changes: Mapping[str, object],
        environment: Mapping[str, str] | None = None,
        module: str = "service",
    ) -> None:
        """Starts it and does not wait.

        Args:
            settings: those that say which model.
            changes: other settings, by their names.
            environment: variables that are no settings.
            module: what is run.
        """
        self.port = loopback.free_port()
        self.ready_s = 0.0
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name) / "log"
        wanted = {name: getattr(settings, name) for name in _KEPT} | dict(changes)
        wanted |= {"host": loopback.HOST, "port": self.port, "drain_s": 0}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("CIFAR10_")}
        variables = {f"CIFAR10_{name.upper()}": str(value) for name, value in wanted.items()}
        self._started = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                env={**inherited, **variables, **(environment or {})},
                stderr=log,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_S)
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def wait_until_ready(self) -> Self:
        """Waits until all workers can answer; the first would get all early connections.

        Raises:
            RuntimeError: it has ended, or was not ready in time.
        """
        deadline = time.perf_counter() + START_TIMEOUT_S
        while self._process.poll() is None and time.perf_counter() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask("/health/ready")[0] == 200:
                    self.ready_s = self.ready_s or time.perf_counter() - self._started
                    # Each worker counts as of one status.
                    if not self.metric('service_workers{status="loading"}'):
                        return self
            time.sleep(_POLL_S)
        raise RuntimeError(f"the service was not ready; it says: {self.last_words}")

    def wait(self) -> int:
        """Waits for its end; returns its exit status.

        Raises:
            TimeoutExpired: it goes on.
        """
        return self._process.wait(START_TIMEOUT_S)

    @property
    def log(self) -> list[str]:
        """The lines that it has written."""
        return self._log.read_text(errors="replace").splitlines()

    @property
    def last_words(self) -> str:
        """The last of them."""
        return self.log[-1] if self.log else "nothing"

    def ask(self, path: str, body: Body | None = None) -> tuple[int, str]:
        """See `loopback.ask`."""
        return loopback.ask(self.port, path, body)

    @property
    def health(self) -> dict[str, Any]:
        """What it says of itself."""
        document: dict[str, Any] = json.loads(self.ask("/health")[1])
        return document

    def metric(self, name: str) -> float:
        """A metric, of all its labels together."""
        return loopback.sum_of_samples(self.ask("/metrics")[1], name)

    @property
    def workers(self) -> list[int]:
        """The ids of its worker processes."""
        parent = f"PPid:\t{self._process.pid}\n"
        children = [process for process, status in _statuses().items() if parent in status]
        return [child for child in children if not _is_tracker(child)]

    @property
    def memory_mb(self) -> float:
        """Resident memory of its worker processes."""
        statuses = _statuses()
        found = (re.search(r"VmRSS:\s+(\d+) kB", statuses.get(it, "")) for it in self.workers)
        return sum(int(match[1]) for match in found if match) * 1024 / 1e6


def _is_tracker(process: int) -> bool:
    """Whether it is a helper of Python's, which is there where workers are not forked."""
    with contextlib.suppress(OSError):
        return b"resource_tracker" in Path(f"/proc/{process}/cmdline").read_bytes()
    return False


def _statuses() -> dict[int, str]:
    """What the system says of each process, by its id."""
    statuses = {}
    for path in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            statuses[int(path.parent.name)] = path.read_text()
    return statuses
