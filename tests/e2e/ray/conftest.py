"""A cluster for the tests, if Ray is installed: `make test-ray` installs it."""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.ray.deployed import ROOT, Deployed, cluster

# Set by `make test-ray`: all tests, of which some take minutes.
ALL = "RAY" in os.environ
ONE = {"num_replicas": 1, "autoscaling_config": None}
_PYTHON = ROOT / ".venv-ray" / "bin" / "python"


def find_python() -> Path | None:
    """The Python that has Ray: of its own environment, or this one."""
    if _PYTHON.exists():
        return _PYTHON
    return Path(sys.executable) if importlib.util.find_spec("ray") else None


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Deployed]:
    """A cluster of two nodes."""
    python = find_python()
    if python is None:
        pytest.skip("Ray is not installed: `make test-ray` does it")
    # The paths of its sockets are too long below pytest's own folder.
    with (
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
        cluster(python, Path(folder), dashboard=ALL) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def server(ray_cluster: Deployed) -> Callable[..., Deployed]:
    """Deploys the service with the given settings, as the fixture of this name starts it."""
    return lambda **settings: ray_cluster.deploy({"provider": "cpu", **settings}, **ONE)
