"""Changes of several models: by several callers, with failures, and how long they last."""

import contextlib
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.e2e import web
from tests.e2e.conftest import Server
from tests.e2e.load import wait_until
from tests.e2e.test_faults import all_workers, log_of, sealed_files_of, workers_of
from tests.e2e.test_models import open_files, processes
from tests.service.conftest import colour
from tests.service.models import write_model

KEY = {"X-API-Key": "secret"}
RED = colour("red")

StartReady = Callable[..., Server]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Models `pets` and `birds`."""
    for name in ("pets", "birds"):
        write_model(tmp_path / "models", name)
    return tmp_path / "models"


@pytest.fixture
def running(server: StartReady, models: Path) -> Iterator[Server]:
    with server(models=models, model="pets", workers=2, admin_keys="secret") as running:
        wait_until(lambda: all_workers(running))
        yield running


def change(server: Server, name: str, action: str = "load") -> int:
    """Loads or unloads a model; returns the status of the answer."""
    url = f"{server.url}/v2/repository/models/{name}/{action}"
    return web.post(url, headers=KEY, timeout=60).status_code


def versions(server: Server, name: str) -> set[str | int]:
    """The versions of a model that answer, or statuses that are no success, of all workers."""
    found: set[str | int] = set()
    for _ in range(8):
        answer = web.post(f"{server.url}/models/{name}/predict", content=RED, timeout=30)
        found.add(answer.json()["version"] if answer.is_success else answer.status_code)
    return found


def kill_workers(server: Server) -> None:
    """Kills both, one after the other, and waits until two others serve."""
    for worker in workers_of(server):
        worker.kill()
        wait_until(lambda worker=worker: is_replaced(server, worker))  # type: ignore[misc]


def is_replaced(server: Server, worker: psutil.Process) -> bool:
    """Whether there are two workers that serve, without this one."""
    present = workers_of(server)
    return len(present) == 2 and worker not in present and all_workers(server)


def test_unload_holds_in_workers_that_start_later_and_until_a_load(
    running: Server, models: Path
) -> None:
    assert change(running, "birds", "unload") == 200
    kill_workers(running)
    assert versions(running, "birds") == {503}
    write_model(models, "birds", 2)
    write_model(models, "pets", 2)
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: versions(running, "pets") == {"2"})
    assert versions(running, "birds") == {503}
    assert change(running, "pets") == 200
    assert versions(running, "birds") == {503}
    assert change(running, "birds") == 200
    assert versions(running, "birds") == {"2"}


def test_of_two_who_load_at_once_one_may_leave(running: Server, models: Path) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    head = "POST /v2/repository/models/birds/load HTTP/1.1\r\nHost: x\r\nX-API-Key: secret\r\n"
    for version in range(2, 8):
        for name in ("pets", "birds"):
            write_model(models, name, version)
        with ThreadPoolExecutor() as executor:
            other = executor.submit(change, running, "pets")
            with socket.create_connection((host, int(port))) as leaver:
                leaver.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())
                time.sleep(0.01 * (version % 3))
            assert other.result() == 200
        assert versions(running, "pets") == {str(version)}
        wait_until(lambda version=version: versions(running, "birds") == {str(version)})  # type: ignore[misc]
    assert log_of(running, "worker ended") == []


def test_signal_logs_what_has_changed_and_nothing_else(running: Server, models: Path) -> None:
    assert log_of(running, "loaded") == []
    write_model(models, "birds", 2)
    (write_model(models, "pets", 2) / "model.onnx").write_bytes(b"damaged")
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log_of(running, "loaded") != [])
    (line,) = log_of(running, "loaded")
    assert (line["model"], line["version"]) == ("birds", "2")
    (line,) = log_of(running, "not loaded")
    assert line["model"] == "pets"
    shutil.rmtree(models / "pets/2")
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log_of(running, "no model has changed") != [])
    shutil.rmtree(models / "birds")
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log_of(running, "removed") != [])
    assert [line["model"] for line in log_of(running, "removed")] == ["birds"]
    assert len(log_of(running, "loaded")) == 1


def test_model_that_cannot_be_loaded_at_the_start_is_logged(
    server: StartReady, models: Path
) -> None:
    (models / "birds/1/model.onnx").write_bytes(b"damaged")
    with server(models=models, model="pets", workers=2) as running:
        (line,) = log_of(running, "not loaded")
    assert line["model"] == "birds"
    assert "sha256" in str(line["why"])


def test_loads_that_fail_leave_nothing_behind(running: Server, models: Path) -> None:
    (write_model(models, "birds", 2) / "model.onnx").write_bytes(b"damaged")
    write_model(models, "pets", 2)
    for _ in range(3):  # what is opened for the first time
        assert change(running, "birds") == 409
    before = open_files(running)
    for _ in range(30):
        assert change(running, "birds") == 409
    wait_until(lambda: open_files(running) == before)  # a connection may be closing
    assert {len(sealed_files_of(process)) for process in processes(running)} == {4}


def test_worker_that_dies_while_it_loads_is_the_end_of_the_change_alone(
    running: Server, models: Path
) -> None:
    """Whichever it is, and whatever it is doing: all keep what they have, or all have the new."""
    for version in range(2, 8):
        write_model(models, "pets", version)
        victim = workers_of(running)[version % 2]
        with ThreadPoolExecutor() as executor:
            asked = executor.submit(ask, running)
            time.sleep(0.01 * (version - 2))
            victim.kill()
            asked.result()
        wait_until(lambda victim=victim: is_replaced(running, victim))  # type: ignore[misc]
        assert len(versions(running, "pets")) == 1
        assert change(running, "pets") == 200
        assert versions(running, "pets") == {str(version)}
    reasons = {str(line["why"]) for line in log_of(running, "worker ended")}
    assert reasons == {"It was ended by SIGKILL, as when memory is short."}


def ask(server: Server) -> None:
    """Asks for a load, which may be lost with the worker that was asked."""
    with contextlib.suppress(httpx2.TransportError):
        assert change(server, "pets") in (200, 503)
