"""The repository's own models, served as `make serve` does, on a free port."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.conftest import Server

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "CIFAR10_PORT": "0",
    "CIFAR10_PROVIDER": "cpu",
    "CIFAR10_LOG_FORMAT": "json",
    "CIFAR10_DRAIN_S": "0",
}


@contextmanager
def shipped(models: Path = ROOT / "models") -> Iterator[str]:
    """Serves them, or another repository; gives the address once it can answer."""
    with running(CIFAR10_MODELS=str(models)) as server:
        yield server.url


@contextmanager
def running(**environment: str) -> Iterator[Server]:
    """Serves it with more settings; gives the server once it can answer."""
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service"],
            cwd=ROOT,
            env=os.environ | SETTINGS | environment,
            stderr=log,
        )
        with Server(process, Path(log.name)) as server:
            yield server.wait_until_ready()
