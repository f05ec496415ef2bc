"""What happens to a service under load when something breaks, changes or ends."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from service.hardware import available_cpus
from service.process.lifecycle import GRACE_S
from service.settings import Settings
from tests.e2e import web
from tests.e2e.conftest import Server, StartServer
from tests.e2e.load import Load, Proxy, wait_until
from tests.service.conftest import colour
from tests.service.models import LABELS, replace_model, write_model

RED, WHITE = colour("red"), colour("white")
ADMIN = {"X-API-Key": "secret"}
LOAD = "/v2/repository/models/tiny/load"
# A worker that is not run for a few seconds is not stuck.
STUCK_S = 8

StartReady = Callable[..., Server]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository of the test's own, with version 1 of the tiny model."""
    write_model(tmp_path / "models")
    return tmp_path / "models"


def workers_of(server: Server) -> list[psutil.Process]:
    """Its worker processes, without those that have ended."""
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]


def log_of(server: Server, message: str) -> list[dict[str, object]]:
    """Log lines with this message."""
    lines = server.log.read_text().splitlines()
    # Of thousands of lines, few need to be parsed.
    records = [json.loads(line) for line in lines if line.startswith("{") and message in line]
    return [record for record in records if record["message"] == message]


def versions(server: Server, requests: int = 20) -> set[str]:
    """Versions that answer, over as many connections as it takes to meet every worker."""

    def version(_: int) -> str:
        answer = web.post(f"{server.url}/predict", content=RED, timeout=30)
        return str(answer.json()["version"])

    with ThreadPoolExecutor(requests) as pool:  # under load each waits for a while
        return set(pool.map(version, range(requests)))


def health(server: Server) -> dict[str, object]:
    """The answer of /health."""
    answer: dict[str, object] = web.get(f"{server.url}/health", timeout=30).json()
    return answer


def is_degraded(server: Server, reason: str) -> bool:
    """Whether /health says so, for this reason; another worker may not have heard of it yet."""
    answer = health(server)
    return answer["status"] == "degraded" and reason in str(answer.get("reason"))


def is_draining(server: Server) -> bool:
    """Whether /health/ready says so."""
    answer = web.get(f"{server.url}/health/ready", timeout=30)
    return answer.status_code == 503 and answer.json()["status"] == "draining"


def all_workers(server: Server, count: int = 2) -> bool:
    """Whether no worker is missing."""
    text = web.get(f"{server.url}/metrics", timeout=30).text
    found = re.search(r'service_workers\{status="ok"\} (\S+)', text)
    return found is not None and float(found[1]) == count


def assert_no_trace(server: Server) -> None:
    assert "Traceback" not in server.log.read_text()


def test_killed_worker_is_replaced_while_the_others_serve(server: StartReady, models: Path) -> None:
    with server(models=models, model="tiny", workers=2) as running:
        wait_until(lambda: all_workers(running))
        first, second = workers_of(running)
        with Load(running.url, RED) as load:
            load.wait_for(20)
            first.kill()
            first.wait()
            killed_at = time.monotonic()
            load.wait_for(20)
            # In this order: with the start of another the killed one is counted no more.
            wait_until(lambda: len(workers_of(running)) == 2 and all_workers(running))
            load.wait_for(20)
        # What the killed one had is lost; whoever asks afterwards is answered, and soon.
        assert len(load.failures) <= load.clients
        assert all(sent.at < killed_at for sent in load.failures)
        assert second in workers_of(running)
        assert first not in workers_of(running)
        metrics = web.get(f"{running.url}/metrics").text
        assert "service_worker_restarts_total 1.0" in metrics
        wait_until(lambda: not any("warning" in health(running) for _ in range(8)))  # of both
    (line,) = log_of(running, "worker ended")
    assert str(line["why"]).startswith("It was ended by SIGKILL")


def test_lone_worker_that_is_killed_costs_time_and_no_new_request(
    server: StartReady, models: Path
) -> None:
    with server(models=models, model="tiny", workers=1) as running:
        # Until the parent has heard of it, a death counts as one at the start.
        wait_until(lambda: log_of(running, "ready") != [])
        (worker,) = workers_of(running)
        with Load(running.url, RED) as load:
            load.wait_for(10)
            worker.kill()
            worker.wait()
            killed_at = time.monotonic()
            load.wait_for(20)
        assert all(sent.at < killed_at for sent in load.failures)
        assert load.refused == 0


def test_worker_ended_by_a_signal_without_a_name_is_replaced(
    server: StartReady, models: Path
) -> None:
    with server(models=models, model="tiny", workers=2) as running:
        wait_until(lambda: all_workers(running))
        os.kill(workers_of(running)[0].pid, signal.SIGRTMIN + 6)
        wait_until(lambda: log_of(running, "worker ended") != [])
        wait_until(lambda: all_workers(running))
        assert versions(running) == {"1"}
    (line,) = log_of(running, "worker ended")
    assert line["why"] == "It was ended by signal 40."


def test_frozen_worker_is_replaced(server: StartReady, models: Path) -> None:
    with server(models=models, model="tiny", workers=2, stuck_s=STUCK_S) as running:
        wait_until(lambda: all_workers(running))
        frozen = workers_of(running)[0]
        frozen.suspend()
        wait_until(lambda: not frozen.is_running())
        wait_until(lambda: all_workers(running))
        assert versions(running) == {"1"}
    assert any("was silent for" in str(line["why"]) for line in log_of(running, "worker ended"))


def test_stuck_thread_is_replaced_and_its_clients_are_told(
    server: StartReady, tmp_path: Path
) -> None:
    write_model(tmp_path / "models", endless=True)
    with server(models=tmp_path / "models", model="tiny", workers=2, stuck_s=STUCK_S) as running:
        wait_until(lambda: all_workers(running))
        answer = web.post(f"{running.url}/predict", content=WHITE, timeout=30)
        assert answer.status_code == 503
        assert "try again" in answer.json()["detail"]
        wait_until(lambda: log_of(running, "worker ended") != [])
        wait_until(lambda: all_workers(running))
        assert versions(running) == {"1"}
    lines = log_of(running, "worker ended")
    assert any("compute-0 has been stuck" in str(line["why"]) for line in lines)
    assert_no_trace(running)


def test_worker_started_later_serves_what_the_others_serve(
    server: StartReady, models: Path
) -> None:
    with server(models=models, model="tiny", workers=2) as running:
        wait_until(lambda: all_workers(running))
        write_model(models, version=2)
        workers_of(running)[0].kill()
        wait_until(lambda: log_of(running, "worker ended") != [])
        wait_until(lambda: all_workers(running))
        assert versions(running) == {"1"}
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log_of(running, "loaded") != [])
        assert versions(running) == {"2"}


def test_workers_are_replaced_from_memory_when_their_files_are_gone(
    server: StartReady, models: Path
) -> None:
    with server(models=models, model="tiny", workers=2) as running:
        wait_until(lambda: all_workers(running))
        shutil.rmtree(models / "tiny")
        for worker in workers_of(running):
            worker.kill()
        wait_until(lambda: len(log_of(running, "worker ended")) == 2)
        wait_until(lambda: all_workers(running))
        assert versions(running) == {"1"}
        for version in (2, 3):
            write_model(models, version=version)
            running.process.send_signal(signal.SIGHUP)
            wait_until(lambda version=version: versions(running) == {str(version)})  # type: ignore[misc]
        for process in [psutil.Process(running.process.pid), *workers_of(running)]:
            # The card and the file of the model that is served.
            assert len(sealed_files_of(process)) == 2


def sealed_files_of(process: psutil.Process) -> list[str]:
    """The models that a process holds in memory, by the names that Linux shows."""
    links = [str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
    return [link for link in links if link.startswith("/memfd:model")]


def test_worker_that_starts_during_changes_takes_part(server: StartReady, models: Path) -> None:
    with server(models=models, model="tiny", workers=3, admin_keys="secret") as running:
        wait_until(lambda: all_workers(running, 3))
        version = 1
        for number in range(1, 6):
            # The oldest: one that follows others that were killed in its place waits for seconds.
            workers_of(running)[0].kill()
            # With this line the supervisor has forgotten it, and counts it as one of three no more.
            wait_until(lambda: len(log_of(running, "worker ended")) == number)  # noqa: B023
            complete = False
            while not complete:
                complete = all_workers(running, 3)
                version += 1
                write_model(models, version=version)
                web.post(f"{running.url}{LOAD}", headers=ADMIN, timeout=60).raise_for_status()
                assert versions(running, 6) == {str(version)}
    reasons = {str(line["why"]) for line in log_of(running, "worker ended")}
    assert reasons == {"It was ended by SIGKILL, as when memory is short."}
    assert log_of(running, "not loaded") == []
    assert_no_trace(running)


def test_client_that_leaves_cancels_no_change_and_takes_no_worker_along(
    server: StartReady, models: Path
) -> None:
    with server(models=models, model="tiny", workers=2, admin_keys="secret") as running:
        wait_until(lambda: all_workers(running))
        for version in range(2, 12):
            write_model(models, version=version)
            host, port = running.url.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port))) as client:
                head = f"POST {LOAD} HTTP/1.1\r\nHost: x\r\nX-API-Key: secret\r\n"
                client.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())
                time.sleep(0.01 * (version % 3))
            wait_until(lambda version=version: versions(running, 4) == {str(version)})  # type: ignore[misc]
    assert log_of(running, "worker ended") == []
    assert_no_trace(running)


def test_20_changes_of_model_under_load_lose_nothing(server: StartReady, models: Path) -> None:
    with (
        server(models=models, model="tiny", workers=2, admin_keys="secret") as running,
        Load(running.url, RED, clients=64, keep_alive=True) as load,
    ):
        wait_until(lambda: all_workers(running))
        for version in range(2, 22):
            # The labels are reversed in every other version: each answer shows which gave it.
            labels = LABELS if version % 2 else LABELS[::-1]
            write_model(models, version=version, labels=labels)
            load.wait_for(5)
            if version % 2:
                web.post(f"{running.url}{LOAD}", headers=ADMIN, timeout=60).raise_for_status()
                assert versions(running, 4) == {str(version)}
            else:
                running.process.send_signal(signal.SIGHUP)
                wait_until(lambda version=version: len(log_of(running, "loaded")) == version - 1)  # type: ignore[misc]
        load.wait_for(5)
    assert load.failures == []
    assert load.refused == 0
    assert {sent.answer["version"] for sent in load.sent} == {str(v) for v in range(1, 22)}
    for sent in load.sent:
        predictions = sent.answer["predictions"]
        assert isinstance(predictions, list)
        expected = "red" if int(str(sent.answer["version"])) % 2 else "blue"
        assert predictions[0]["label"] == expected


def test_bad_version_changes_no_worker_and_health_says_why(
    server: StartReady, models: Path
) -> None:
    with server(models=models, model="tiny", workers=2) as running:
        wait_until(lambda: all_workers(running))
        (write_model(models, version=2) / "model.onnx").write_bytes(b"damaged")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: is_degraded(running, "sha256"))
        assert versions(running) == {"1"}
        shutil.rmtree(models / "tiny/2")
        write_model(models, version=2)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log_of(running, "loaded") != [])
        wait_until(lambda: all_workers(running))
        assert versions(running) == {"2"}
    (line,) = log_of(running, "not loaded")
    assert "sha256" in str(line["why"])


@pytest.mark.parametrize("keep_alive", [False, True])
def test_end_under_load_answers_every_accepted_request(
    server: StartReady, models: Path, keep_alive: bool
) -> None:
    running = server(models=models, model="tiny", workers=2, drain_s=60)
    wait_until(lambda: all_workers(running))
    with Load(running.url, RED, clients=8, keep_alive=keep_alive) as load:
        load.wait_for(50)
        running.process.terminate()
        wait_until(lambda: log_of(running, "draining") != [])
        wait_until(lambda: all(is_draining(running) for _ in range(8)))  # by both workers
        load.wait_for_each(2)  # by then it has closed the connection of each client
        running.process.terminate()  # it has drained for long enough
        wait_until(lambda: load.refused > 0)
        assert running.wait() == 0
    assert load.failures == []
    assert len(load.sent) > 60
    assert_no_trace(running)


def test_model_that_is_never_read_to_its_end_delays_no_answer_and_no_end(
    server: StartReady, models: Path
) -> None:
    with server(models=models, model="tiny", workers=2, admin_keys="secret") as running:
        wait_until(lambda: all_workers(running))
        file = write_model(models, version=2) / "model.onnx"
        file.unlink()
        os.mkfifo(file)  # as a network drive that hangs
        with ThreadPoolExecutor() as executor:
            load = executor.submit(web.post, f"{running.url}{LOAD}", headers=ADMIN, timeout=60)
            writer = write_to_reader(file)
            assert versions(running) == {"1"}
            asked_at = time.monotonic()
            assert running.stop() == 0
            assert time.monotonic() - asked_at < GRACE_S / 2
            os.close(writer)
            assert "shutting down" in load.result().json()["error"]
    assert log_of(running, "killing workers: the grace period is over") == []


def write_to_reader(pipe: Path) -> int:
    """Opens a named pipe to write to it, once somebody reads it."""
    writers: list[int] = []

    def has_reader() -> bool:
        with contextlib.suppress(OSError):
            writers.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return bool(writers)

    wait_until(has_reader)
    return writers[0]


def test_hangup_while_it_drains_or_stops_changes_nothing(server: StartReady, models: Path) -> None:
    with server(models=models, model="tiny", workers=2, drain_s=1) as running:
        wait_until(lambda: all_workers(running))
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\n")
            client.sendall(f"Content-Length: {len(RED)}\r\n\r\n".encode() + RED[:20])
            running.process.terminate()
            wait_until(lambda: log_of(running, "draining") != [])
            write_model(models, version=2)
            running.process.send_signal(signal.SIGHUP)
            wait_until(lambda: not accepts(host, int(port)))  # it has begun to stop
            for _ in range(3):
                running.process.send_signal(signal.SIGHUP)
                time.sleep(0.2)
            client.sendall(RED[20:])
            answer = client.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b'"version":"1"' in answer
        assert running.wait() == 0
    assert log_of(running, "killing workers: told to stop again") == []


def accepts(host: str, port: int) -> bool:
    """Whether a new connection can be made."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


def test_rolling_restart_behind_a_proxy_fails_no_request(
    start_server: StartServer, models: Path
) -> None:
    def start() -> Server:
        # Within which the proxy, a thread beside those of the load, has to notice it.
        return start_server(models=models, model="tiny", workers=1, drain_s=5)

    old = [start(), start()]
    with Proxy() as proxy:
        for server in old:
            proxy.add(server.url)
        with Load(proxy.url, RED, pause_s=0.01) as load:
            for server in old:
                load.wait_for(20)
                new = start()
                proxy.add(new.url)
                assert server.stop() == 0
                load.wait_for(20)
        assert load.failures == []
        assert load.refused == 0


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "model.onnx cannot be read: No such file or directory"),
        (lambda model: replace_model(model, b"no model"), "ONNX Runtime cannot run the model"),
    ],
    ids=["missing", "no ONNX"],
)
def test_model_that_cannot_be_served_is_one_line_and_status_1(
    start_server: StartServer, models: Path, damage: Callable[[Path], None], reason: str
) -> None:
    damage(models / "tiny/1/model.onnx")
    running = start_server(models=models, model="tiny", workers=2)
    assert running.wait() == 1
    (line,) = [line for line in running.log.read_text().splitlines() if line[0] != "{"]
    assert line.startswith("error: ")
    assert reason in line
    assert_no_trace(running)


def test_models_that_may_not_be_read_are_said(models: Path) -> None:
    command = [sys.executable, "-m", "service", "--port", "0", "--provider", "cpu"]
    if os.geteuid() == 0:  # root may read everything, unless it gives that up
        if not shutil.which("setpriv"):
            pytest.skip("needs setpriv")
        less = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={less}", f"--inh-caps={less}", *command]
    models.joinpath("tiny").chmod(0)
    ended = subprocess.run(
        [*command, "--models", str(models), "--model", "tiny"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    models.joinpath("tiny").chmod(0o700)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert last.endswith("tiny cannot be read: Permission denied.")


def test_ctrl_c_ends_all_processes_at_once_and_quietly(tiny_models: Path) -> None:
    command = [sys.executable, "-m", "service", "--models", str(tiny_models), "--model", "tiny"]
    process = subprocess.Popen(
        [*command, "--port", "0", "--workers", "2", "--provider", "cpu", "--drain-s", "60"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stderr is not None
        assert "listening" in process.stderr.readline()
        assert "ready" in process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        rest = process.stderr.read()
    assert process.returncode == 0
    assert "Traceback" not in rest
    assert "error" not in rest


def test_terminal_that_is_closed_ends_the_service(tiny_models: Path) -> None:
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "service", "--models", str(tiny_models), "--model", "tiny"]
    process = subprocess.Popen(
        [*command, "--port", "0", "--workers", "1", "--provider", "cpu"],
        preexec_fn=lambda: os.login_tty(its),
    )
    os.close(its)
    seen = b""
    while b"ready" not in seen:
        seen += os.read(ours, 10_000)
    os.close(ours)
    assert process.wait(60) == 0


def test_workers_end_with_their_supervisor(start_server: StartServer, models: Path) -> None:
    running = start_server(models=models, model="tiny", workers=2).wait_until_ready()
    wait_until(lambda: all_workers(running))
    workers = workers_of(running)
    running.process.kill()
    wait_until(lambda: not any(worker.is_running() for worker in workers))
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_server((host, int(port))):
        pass  # the port is free again


def test_no_worker_keeps_another_from_noticing_the_end_of_the_supervisor(
    server: StartReady, models: Path
) -> None:
    running = server(models=models, model="tiny", workers=2)
    wait_until(lambda: all_workers(running))
    first, second = workers_of(running)
    first.kill()
    first.wait()
    wait_until(lambda: len(workers_of(running)) == 2 and all_workers(running))
    (replacement,) = set(workers_of(running)) - {second}
    replacement.suspend()  # it is a fork of the supervisor, and so are its open files
    try:
        running.process.kill()
        wait_until(lambda: not second.is_running())
    finally:
        replacement.resume()
    wait_until(lambda: not replacement.is_running())


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
@pytest.mark.parametrize("workers", ["auto"] if available_cpus() == 2 else [2, "auto"])
def test_service_is_its_supervisor_and_workers_which_share_their_modules(
    server: StartReady, models: Path, workers: int | str
) -> None:
    count = Settings(workers=workers).worker_count
    with server(models=models, model="tiny", workers=workers) as running:
        wait_until(lambda: all_workers(running, count))
        supervisor = psutil.Process(running.process.pid)
        assert supervisor.children(recursive=True) == workers_of(running)
        assert {str(worker.cmdline()) for worker in workers_of(running)} == {
            str(supervisor.cmdline())
        }
        for worker in workers_of(running):
            memory = worker.memory_full_info()
            assert memory.uss < memory.rss / 2
