"""A disk that is full at the start, and one that fills up."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e import web
from tests.e2e.conftest import Server, kill, launch
from tests.e2e.load import wait_until
from tests.e2e.test_faults import all_workers, health, workers_of
from tests.service.conftest import colour

RED = colour("red")
# Gives the service a small disk of its own for temporary files.
ON_SMALL_DISK = ("unshare", "--map-root-user", "--mount", "sh", "-c")
MOUNT = 'mount -t tmpfs -o size={size} none "$TMPDIR" && exec "$@"'

Start = Callable[..., Server]


def can_mount(folder: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    command = (*ON_SMALL_DISK, MOUNT.format(size="1m"), "sh", "true")
    environment = os.environ | {"TMPDIR": str(folder)}
    return subprocess.run(command, env=environment, capture_output=True).returncode == 0


@pytest.fixture
def start(tmp_path: Path, tiny_models: Path) -> Iterator[Start]:
    """Starts a server with two workers whose temporary files are on a disk of that size."""
    disk, log = tmp_path / "disk", tmp_path / "log"
    disk.mkdir()
    if not can_mount(disk):
        pytest.skip("cannot mount a disk")
    servers: list[Server] = []

    def start(size: str, **settings: object) -> Server:
        settings = {"models": tiny_models, "model": "tiny", "workers": 2} | settings
        before = (*ON_SMALL_DISK, MOUNT.format(size=size), "sh")
        servers.append(launch(log, settings, before, TMPDIR=str(disk)))
        return servers[-1]

    yield start
    kill(servers)


def test_full_disk_is_said_at_the_start(start: Start) -> None:
    server = start("100k")
    assert server.wait() == 1
    last = server.log.read_text().splitlines()[-1]
    assert last.startswith("error: cannot use a folder for temporary files: No space left on ")


def test_disk_that_fills_up_costs_no_answer_and_no_worker(start: Start, tmp_path: Path) -> None:
    keys = {"api_keys": "one,another", "rate_limit": "1000/second", "metrics_open": 1}
    with start("8m", **keys).wait_until_ready() as server:
        wait_until(lambda: all_workers(server))
        rest = Path(f"/proc/{server.process.pid}/root{tmp_path}/disk/rest")
        fill(rest)
        answers = [ask(server, key) for key in ("one", "another") * 10]
        assert answers == [200] * 20
        killed = workers_of(server)[0]
        killed.kill()
        # Its successor takes over its files, for which there was room.
        wait_until(lambda: killed not in workers_of(server) and not warning(server))
        wait_until(lambda: all_workers(server))
        assert [ask(server, "one") for _ in range(20)] == [200] * 20
    assert "Traceback" not in server.log.read_text()


def fill(file: Path) -> None:
    """Makes a file that takes all the room there is."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as rest:
        while True:
            rest.write(bytes(4096))


def ask(server: Server, key: str) -> int:
    headers = {"X-API-Key": key}
    return web.post(f"{server.url}/predict", content=RED, headers=headers, timeout=30).status_code


def warning(server: Server) -> str:
    return str(health(server).get("warning", ""))


def test_log_that_cannot_be_written_costs_no_answer(tiny_models: Path) -> None:
    settings = {"models": tiny_models, "model": "tiny", "workers": 1}
    process = launch(Path("/dev/full"), settings).process
    try:
        url = f"http://127.0.0.1:{port_of(process)}"
        wait_until(lambda: web.get(f"{url}/health/ready", timeout=30).status_code == 200)
        answers = [web.post(f"{url}/predict", content=RED, timeout=30) for _ in range(10)]
        assert {answer.status_code for answer in answers} == {200}
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()


def port_of(process: "subprocess.Popen[bytes]") -> int:
    """The port that it listens on, which the log would say."""
    ports: list[int] = []

    def listens() -> bool:
        connections = psutil.Process(process.pid).net_connections("tcp4")
        ports.extend(c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN)
        return bool(ports)

    wait_until(listens)
    return ports[0]
