"""A real Prometheus with our configuration, on a free port of the loopback."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e import web

CONFIGURATION = Path(__file__).parents[2] / "docker" / "monitoring"
WAIT_S = 60

installed = bool(shutil.which("prometheus"))


@dataclass(frozen=True)
class Prometheus:
    """One that runs.

    Attributes:
        url: its address, without a slash at the end.
    """

    url: str

    def get(self, path: str, **parameters: str) -> Any:  # noqa: ANN401
        """Asks its API; returns the data of the answer."""
        answer = web.get(f"{self.url}/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def values(self, query: str) -> list[float]:
        """What a query gives now, for each line."""
        return [float(line["value"][1]) for line in self.get("query", query=query)["result"]]


@contextmanager
def watching(url: str, folder: Path, interval: str) -> Iterator[Prometheus]:
    """Starts one that asks a server, and our rules, every interval, such as `500ms`."""
    shutil.copy(CONFIGURATION / "alerts.yml", folder)
    config = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text().replace("15s", interval))
    (job,) = config["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [url.removeprefix("http://")]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    log = folder / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--web.listen-address=127.0.0.1:0",
            ],
            stderr=stderr,
        )
    try:
        prometheus = Prometheus(_address(process, log))
        _wait_until_ready(prometheus)
        yield prometheus
    finally:
        process.terminate()
        process.wait(WAIT_S)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if found := re.search(r'"?Listening on"? address=(\S+)', log.read_text()):
            return f"http://{found[1]}"
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise TimeoutError(log.read_text())


def _wait_until_ready(prometheus: Prometheus) -> None:
    """It listens before it can answer."""
    deadline = time.monotonic() + WAIT_S
    while web.get(f"{prometheus.url}/-/ready").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
