"""The service on a cluster of Ray, as `docker/ray/serve.yml` deploys it."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from tests.benchmark.loopback import free_port

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "docker" / "ray" / "serve.yml"
WAIT_S = 120
_POLL_S = 0.1
# On a busy machine a node takes longer to start than Ray allows, which no setting changes.
_ATTEMPTS = 4
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    # Nothing of this leaves the machine.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "ORT_DISABLE_TELEMETRY": "1",
    # The only proxy here would ask the replica beside it alone, and none on the other node.
    "RAY_SERVE_PROXY_PREFER_LOCAL_NODE_ROUTING": "0",
    # Else all replicas wait for whatever runs beside the tests: Ray's default is 15.
    "RAY_worker_niceness": "0",
}


class DeployError(Exception):
    """Ray has not deployed the service; the text is its reason."""


@dataclass
class Deployed:
    """A cluster, and the service on it once `deploy` was called.

    Attributes:
        process: `tests/e2e/ray/cluster.py`.
        python: the Python of Ray's environment.
        port: where Ray's proxy on the head listens.
        dashboard: the URL of Ray's dashboard, if it runs.
        exporters: the URLs of Ray's exporters on the head and on the first node.
    """

    process: subprocess.Popen[str]
    python: Path
    port: int
    dashboard: str
    exporters: Sequence[str]

    @property
    def url(self) -> str:
        """The address of Ray's proxy, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def deploy(self, settings: Mapping[str, object], **options: object) -> Self:
        """Deploys it with these settings and options of the deployment, and waits.

        Raises:
            DeployError: Ray gives up.
        """
        self.order(json.dumps(configure(self.port, settings, options)))
        return self.wait_until_running()

    def wait_until_running(self) -> Self:
        """Waits until all replicas are those that were asked for."""
        deadline = time.monotonic() + WAIT_S
        while (found := self.order("status")).get("status") != "RUNNING":
            if found.get("status") in ("DEPLOY_FAILED", "UNHEALTHY"):
                raise DeployError(found["message"])
            assert time.monotonic() < deadline, found
            time.sleep(_POLL_S)
        return self

    def replicas(self) -> int:
        """Number of replicas that serve."""
        return int(self.order("status")["replicas"])

    def order(self, order: str) -> dict[str, Any]:
        """Gives an order to the cluster; returns what Ray says of the service afterwards."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        status: dict[str, Any] = json.loads(self.process.stdout.readline())
        return status

    def __enter__(self) -> Self:
        """Does nothing: it runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves it running, for who deploys it next."""


def configure(
    port: int, settings: Mapping[str, object], options: Mapping[str, object]
) -> dict[str, Any]:
    """The configuration that ships, with other settings and options, on the loopback."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    # All nodes have one address here: one of them can have the port.
    config["proxy_location"] = "HeadOnly"
    config["http_options"] |= {"host": "127.0.0.1", "port": port}
    (application,) = config["applications"]
    given = {f"CIFAR10_{name.upper()}": str(value) for name, value in settings.items()}
    kept = application["runtime_env"]["env_vars"] if not settings else {}
    # Ray keeps the replicas of an environment that has not changed, and each test wants new ones.
    new = {"DEPLOYED_AT": str(time.monotonic())}
    application["runtime_env"]["env_vars"] = {**kept, **given, **new}
    application["deployments"][0] |= options
    return config


@contextmanager
def cluster(python: Path, folder: Path, *, dashboard: bool) -> Iterator[Deployed]:
    """Runs a cluster of a head and a node; the folder's path must be short."""
    port = free_port()
    options = ["--dashboard"] if dashboard else []
    for attempt in range(_ATTEMPTS):
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                [python, "-m", "tests.e2e.ray.cluster", *options],
                cwd=ROOT,
                env=os.environ | ENVIRONMENT | {"RAY_TMPDIR": str(folder)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            try:
                assert process.stdin
                assert process.stdout
                line = process.stdout.readline()
                if not line and attempt < _ATTEMPTS - 1:
                    continue
                assert line, (folder / "log").read_text()
                dashboard_url, *exporters = line.split()
                yield Deployed(process, python, port, dashboard_url, exporters)
                process.stdin.close()
                process.wait(WAIT_S)
            finally:
                process.kill()
        return
