"""What nobody waits for is not computed, by a real server."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.e2e import web
from tests.e2e.conftest import Server
from tests.e2e.hostile import DEADLINE_MS, PATIENCE_S, connect, head, post
from tests.e2e.load import wait_until
from tests.e2e.test_hostile_pictures import png
from tests.service.conftest import colour

RED = colour("red")
# It takes some milliseconds to decode, and is just not large enough for a lane of its own.
MEDIUM = png(700, 700, bytes(700 * 2101))
# Seconds of work, in which a test that is not run for a while still does what it has to.
REQUESTS, FILES = 12, 64
CLIENTS = 20


@pytest.fixture
def running(server: Callable[..., Server], tiny_models: Path) -> Iterator[Server]:
    settings = {"workers": 1, "threads": 1, "max_queue": 1024, "deadline_ms": DEADLINE_MS}
    with server(models=tiny_models, model="tiny", **settings) as running:
        yield running


def metric(server: Server, name: str, *, absent: float | None = None) -> float:
    """A metric; `absent` is its value where it is not exported, as what was never counted."""
    text = web.get(f"{server.url}/metrics").text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    if not found and absent is not None:
        return absent
    assert found, text
    return float(found[1])


@contextmanager
def busy(server: Server) -> Iterator[list[int]]:
    """Keeps the only thread at many pictures for a while, until all of them are answered.

    What was sent meanwhile has to be gone from the queue at the end of the block.
    """
    statuses: list[int] = []
    files = [("files", MEDIUM)] * FILES

    def send() -> None:
        url = f"{server.url}/predict/batch"
        statuses.append(web.post(url, files=files, timeout=PATIENCE_S).status_code)

    with ExitStack() as stack:
        for _ in range(REQUESTS):
            thread = threading.Thread(target=send)
            thread.start()
            stack.callback(thread.join)
        # What comes from now on is behind them. (The depth of the queue may be read too late.)
        wait_until(lambda: received(server) == 0)
        yield statuses
        assert metric(server, 'classifier_queue_depth{model="tiny"}') > 0, "it was too late"


def computed(server: Server) -> float:
    return metric(server, 'classifier_batch_size_sum{model="tiny"}')


def received(server: Server) -> float:
    """The number of single pictures that have arrived; it is below 0 before the others have."""
    name = 'classifier_stage_seconds_count{model="tiny",stage="receive"}'
    return metric(server, name, absent=0) - REQUESTS


def left(server: Server) -> float:
    """The number of requests whose client had left."""
    name = 'http_requests_total{route="/predict",status="499"}'
    return metric(server, name, absent=0)


def test_picture_of_a_client_who_has_left_is_not_computed(running: Server) -> None:
    with busy(running) as statuses:
        connections: list[socket.socket] = []
        for _ in range(CLIENTS):
            connections.append(connect(running))
            connections[-1].sendall(head(content_length=len(RED)) + RED)
        wait_until(lambda: received(running) >= CLIENTS)
        for connection in connections:
            connection.close()
        wait_until(lambda: left(running) == CLIENTS)
    assert statuses == [200] * REQUESTS
    assert computed(running) == REQUESTS * FILES
    assert left(running) == CLIENTS


def test_picture_whose_time_is_over_is_504_and_not_computed(running: Server) -> None:
    with busy(running) as statuses, ThreadPoolExecutor(CLIENTS) as pool:
        late = list(pool.map(lambda _: post(running, RED, x_request_timeout_ms=50), range(CLIENTS)))
    assert statuses == [200] * REQUESTS
    assert {(answer.status, answer.slug) for answer in late} == {(504, "deadline-exceeded")}
    assert computed(running) == REQUESTS * FILES
    assert post(running, RED, x_request_timeout_ms=20_000).status == 200
