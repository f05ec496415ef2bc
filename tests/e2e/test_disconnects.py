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
from tests.e2e.hostile import Answer, connect, head, post
from tests.e2e.load import wait_until
from tests.e2e.test_hostile_pictures import png
from tests.service.conftest import colour

RED = colour("red")
# It takes a quarter of a second or so to decode.
LARGE = png(4000, 4000, bytes(4000 * 12_001))
LARGE_ONES = 12
CLIENTS = 20


@pytest.fixture
def running(server: Callable[..., Server], tiny_models: Path) -> Iterator[Server]:
    settings = {"workers": 1, "threads": 1, "deadline_ms": 60_000}
    with server(models=tiny_models, model="tiny", **settings) as running:
        yield running


def metric(server: Server, name: str) -> float:
    text = web.get(f"{server.url}/metrics", timeout=30).text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, text
    return float(found[1])


@contextmanager
def busy(server: Server) -> Iterator[list[Answer]]:
    """Keeps the only thread at large pictures for seconds, until all of them are answered."""
    answers: list[Answer] = []
    with ExitStack() as stack:
        for _ in range(LARGE_ONES):
            thread = threading.Thread(target=lambda: answers.append(post(server, LARGE)))
            thread.start()
            stack.callback(thread.join)
        # One is in work, or will be; what comes from now on is behind it.
        wait_until(lambda: metric(server, 'classifier_queue_depth{model="tiny"}') >= 1)
        yield answers


def computed(server: Server) -> float:
    return metric(server, 'classifier_batch_size_sum{model="tiny"}')


def test_picture_of_a_client_who_has_left_is_not_computed(running: Server) -> None:
    with busy(running) as answers:
        connections: list[socket.socket] = []
        for _ in range(CLIENTS):
            connections.append(connect(running))
            connections[-1].sendall(head(content_length=len(RED)) + RED)
        wait_until(lambda: metric(running, 'classifier_queue_depth{model="tiny"}') >= CLIENTS)
        for connection in connections:
            connection.close()
        wait_until(lambda: metric(running, 'classifier_queue_depth{model="tiny"}') < CLIENTS)
    assert [answer.status for answer in answers] == [200] * LARGE_ONES
    assert computed(running) == LARGE_ONES
    assert metric(running, 'http_requests_total{route="/predict",status="499"}') == CLIENTS


def test_picture_whose_time_is_over_is_504_and_not_computed(running: Server) -> None:
    with busy(running) as answers, ThreadPoolExecutor(CLIENTS) as pool:
        late = list(pool.map(lambda _: post(running, RED, x_request_timeout_ms=50), range(CLIENTS)))
    assert [answer.status for answer in answers] == [200] * LARGE_ONES
    assert {(answer.status, answer.slug) for answer in late} == {(504, "deadline-exceeded")}
    assert computed(running) == LARGE_ONES
    assert post(running, RED, x_request_timeout_ms=20_000).status == 200
