"""Keys and rates on a real server with two workers."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx2

from tests.e2e import web
from tests.e2e.conftest import Server

CAT = Path("tests/data/cat.jpg").read_bytes()


def ask(server: Server, key: str) -> httpx2.Response:
    """Asks on a connection of its own, which any worker may get."""
    headers = {"Authorization": f"Bearer {key}"}
    return web.post(f"{server.url}/predict", content=CAT, headers=headers, timeout=60)


def wait_for(server: Server, key: str, status: int) -> None:
    """Waits until all workers answer with a status."""
    deadline = time.monotonic() + 60
    while {ask(server, key).status_code for _ in range(10)} != {status}:
        assert time.monotonic() < deadline


def test_keys_rotate_without_a_restart_and_never_reach_the_log(
    server: Callable[..., Server], tiny_models: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("0ld-k3y\n")
    settings = {"models": tiny_models, "model": "tiny", "workers": 2, "log_level": "debug"}
    with server(**settings, api_keys_file=keys, api_keys="l4sting-k3y") as running:
        assert ask(running, "0ld-k3y").status_code == 200
        assert ask(running, "n3w-k3y").status_code == 401
        keys.write_text("n3w-k3y\n")
        wait_for(running, "n3w-k3y", 200)
        wait_for(running, "0ld-k3y", 401)
        assert ask(running, "l4sting-k3y").status_code == 200
        assert web.get(f"{running.url}/health").status_code == 200
        assert web.get(f"{running.url}/metrics").status_code == 401
    log = running.log.read_text()
    assert "request" in log
    assert "k3y" not in log


def test_workers_count_the_requests_of_a_key_together(
    server: Callable[..., Server], tiny_models: Path
) -> None:
    settings = {"models": tiny_models, "model": "tiny", "workers": 2}
    with server(**settings, api_keys="one,another", rate_limit="20/hour") as running:
        start = time.monotonic()
        answers = [ask(running, "one") for _ in range(30)]
        elapsed = time.monotonic() - start
        assert ask(running, "another").status_code == 200
    assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 10
    assert 180 - elapsed - 1 <= int(answers[-1].headers["retry-after"]) <= 180
