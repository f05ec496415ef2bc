"""Real server processes for the tests: `python -m service` on a free port of the loopback."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.e2e import web
from tests.service.models import write_model

START_TIMEOUT_S = 60


@dataclass
class Server:
    """A server process; as a context manager it is stopped at the end."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        """Its address, without a slash at the end; waits until it listens."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if found := re.search(r'"url": ?"([^"]+)"', self.log.read_text()):
                return found[1]
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise TimeoutError(self.log.read_text())

    @property
    def grpc_address(self) -> str:
        """Its address for gRPC, once it listens."""
        found = re.search(r'"grpc_port": ?(\d+)', self.log.read_text())
        assert found, self.log.read_text()
        return f"127.0.0.1:{found[1]}"

    def wait_until_ready(self) -> Self:
        """Waits for 200 from /health/ready."""
        deadline = time.monotonic() + START_TIMEOUT_S
        # It listens before it can answer.
        while web.get(f"{self.url}/health/ready", timeout=START_TIMEOUT_S).status_code != 200:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        return self

    def wait(self) -> int:
        """Waits for its end; returns the exit status."""
        return self.process.wait(START_TIMEOUT_S)

    def stop(self) -> int:
        """Sends SIGTERM and waits; returns the exit status."""
        self.process.terminate()
        return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()


StartServer = Callable[..., Server]


def launch(
    log: Path, settings: dict[str, object], before: tuple[str, ...] = (), **environment: str
) -> Server:
    """Starts a server with the given settings, as the last words of a command; does not wait."""
    settings = {"port": 0, "provider": "cpu", "log_format": "json", "drain_s": 0} | settings
    environment |= {f"CIFAR10_{name.upper()}": str(value) for name, value in settings.items()}
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CIFAR10_")}
    command = (*before, sys.executable, "-m", "service")
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, env=inherited | environment, stderr=stderr)
    return Server(process, log)


def kill(servers: list[Server]) -> None:
    """Ends those that a failed test has left."""
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
            server.wait()


@pytest.fixture(autouse=True, scope="session")
def ctrl_c() -> None:
    """Hand Ctrl-C on: in the background a shell has it ignored, by all that is started, too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Starts a server with the given settings, such as `max_files=2`; does not wait for it.

    Without settings it serves the repository's own models, on the CPU.
    """
    folder = tmp_path_factory.mktemp("servers")
    servers: list[Server] = []

    def start(**settings: object) -> Server:
        servers.append(launch(folder / f"{len(servers)}.log", settings))
        return servers[-1]

    yield start
    kill(servers)


@pytest.fixture(scope="session")
def server(start_server: StartServer) -> Callable[..., Server]:
    """Starts a server with the given settings and waits until it is ready."""
    return lambda **settings: start_server(**settings).wait_until_ready()


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository that holds the tiny model `tiny`, version 1."""
    models = tmp_path_factory.mktemp("models")
    write_model(models)
    return models
