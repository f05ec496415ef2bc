"""A server on a Unix socket, which all its workers accept connections from."""

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.e2e.conftest import Server, StartServer
from tests.e2e.load import Load, wait_until
from tests.e2e.test_faults import STUCK_S, log_of, workers_of
from tests.service.conftest import colour
from tests.service.models import write_model

RED, WHITE = colour("red"), colour("white")

Start = Callable[..., tuple[Server, Path]]


@pytest.fixture
def start(start_server: StartServer, tiny_models: Path, tmp_path: Path) -> Start:
    """Starts a server on a socket in the test's own folder, and waits until it is complete."""

    def start(**settings: object) -> tuple[Server, Path]:
        path = tmp_path / "socket"
        settings = {"models": tiny_models, "model": "tiny", "workers": 2} | settings
        server = start_server(uds=path, **settings)
        wait_until(lambda: log_of(server, "listening") != [])
        wait_until(lambda: all_workers(path))
        return server, path

    return start


def client_of(path: Path) -> httpx2.Client:
    transport = httpx2.HTTPTransport(uds=str(path))
    return httpx2.Client(transport=transport, base_url="http://localhost", timeout=30)


def all_workers(path: Path) -> bool:
    with client_of(path) as client:
        return 'service_workers{status="ok"} 2.0' in client.get("/metrics").text


def load_on(path: Path, *, keep_alive: bool = False) -> Load:
    return Load("http://localhost", RED, clients=8, keep_alive=keep_alive, uds=path)


def test_requests_are_answered_and_logged(start: Start) -> None:
    server, path = start()
    with server, client_of(path) as client:
        answer = client.post("/predict", content=RED)
        assert answer.status_code == 200
        assert answer.json()["model"] == "tiny"
    (line,) = log_of(server, "listening")
    assert (line["uds"], line["workers"]) == (str(path), 2)
    requests = [line for line in log_of(server, "request") if line["path"] == "/predict"]
    assert [line["client"] for line in requests] == ["unknown"]
    assert not path.exists()


def test_killed_worker_loses_no_waiting_connection(start: Start) -> None:
    server, path = start()
    with server:
        first = workers_of(server)[0]
        with load_on(path) as load:
            load.wait_for(50)
            first.kill()
            first.wait()
            load.wait_for(50)
            wait_until(lambda: all_workers(path))
            load.wait_for(50)
        # Only what the killed worker had accepted is lost.
        assert len(load.failures) <= load.clients
        assert load.refused == 0


def test_retired_worker_leaves_the_socket_to_the_others(start: Start, tmp_path: Path) -> None:
    write_model(tmp_path / "models", endless=True)
    server, path = start(models=tmp_path / "models", stuck_s=STUCK_S)
    with server, client_of(path) as client:
        assert client.post("/predict", content=WHITE).status_code == 503
        wait_until(lambda: log_of(server, "worker ended") != [])
        wait_until(lambda: all_workers(path))
        with load_on(path) as load:
            load.wait_for(50)
        assert load.failures == []
        assert load.refused == 0


@pytest.mark.parametrize("keep_alive", [False, True])
def test_end_under_load_answers_every_accepted_request(start: Start, keep_alive: bool) -> None:
    server, path = start(drain_s=60)
    with load_on(path, keep_alive=keep_alive) as load:
        load.wait_for(50)
        server.process.terminate()
        wait_until(lambda: log_of(server, "draining") != [])
        load.wait_for_each(2)  # by then it has closed the connection of each client
        server.process.terminate()  # it has drained for long enough
        wait_until(lambda: load.refused > 0)
        assert server.wait() == 0
    assert load.failures == []
    assert len(load.sent) > 60
    assert not path.exists()
    assert "Traceback" not in server.log.read_text()


def test_socket_of_a_killed_server_is_replaced(start: Start) -> None:
    killed, path = start()
    workers = workers_of(killed)
    killed.process.kill()
    wait_until(lambda: not any(worker.is_running() for worker in workers))
    assert path.is_socket()
    server, _ = start()
    with server, client_of(path) as client:
        assert client.post("/predict", content=RED).status_code == 200


def test_socket_of_a_live_server_is_refused_in_one_line(
    start: Start, start_server: StartServer, tiny_models: Path
) -> None:
    server, path = start()
    with server, client_of(path) as client:
        second = start_server(uds=path, models=tiny_models, model="tiny")
        assert second.wait() == 1
        (line,) = second.log.read_text().splitlines()
        assert line == (
            f"error: {path} is already in use: stop what uses it, or choose another with --uds"
        )
        assert client.post("/predict", content=RED).status_code == 200


def test_path_that_cannot_be_used_is_one_line(start_server: StartServer, tmp_path: Path) -> None:
    for path, reason in [
        (tmp_path / "none" / "socket", "No such file or directory"),
        (tmp_path / ("x" * 200), "AF_UNIX path too long"),
    ]:
        server = start_server(uds=path)
        assert server.wait() == 1
        (line,) = server.log.read_text().splitlines()
        assert line == f"error: cannot listen on {path}: {reason}"


def test_failed_start_removes_the_socket(
    start_server: StartServer, tiny_models: Path, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    assert start_server(uds=path, models=tiny_models, model="none").wait() == 1
    assert not path.exists()
