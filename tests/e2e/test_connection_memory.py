"""What connections hold in memory that send much of little, in a real server of one worker."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import Server
from tests.e2e.hostile import connect, head, memory_mb, post, read_answer
from tests.e2e.test_hostile_requests import CAT, CHUNKED, chunk

# The service reads so much at a time.
READ_BYTES = 256_000


@pytest.fixture
def running(server: Callable[..., Server], tiny_models: Path) -> Iterator[Server]:
    with server(models=tiny_models, model="tiny", workers=1) as running:
        post(running, CAT)
        yield running
        assert "unhandled error" not in running.log.read_text()


def send(connection: socket.socket, data: bytes) -> None:
    """Sends as much as is taken within a moment."""
    connection.settimeout(0.2)
    view = memoryview(data)
    try:
        while view:
            view = view[connection.send(view) :]
    except TimeoutError:
        pass
    connection.settimeout(60)


def connect_narrowly(server: Server) -> socket.socket:
    """Opens a connection over which little of an answer travels that is not read."""
    address = urlsplit(server.url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((address.hostname, address.port))
    return connection


@pytest.mark.parametrize("end", [b"", b"\r\n"], ids=["unfinished", "complete"])
def test_heads_of_short_headers_are_refused_and_not_kept(running: Server, end: bytes) -> None:
    before = memory_mb(running)
    with ExitStack() as opened:
        connections = [opened.enter_context(connect(running)) for _ in range(100)]
        for connection in connections:
            send(connection, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 16_000 + end)
        for connection in connections:
            answer = read_answer(connection)
            assert answer
            assert (answer.status, answer.slug) == (431, "head-too-large")
        assert memory_mb(running) - before < 40  # it was 175
    assert post(running, CAT).status == 200


def test_trailers_are_not_kept(running: Server) -> None:
    before = memory_mb(running)
    with ExitStack() as opened:
        connections = [opened.enter_context(connect(running)) for _ in range(100)]
        for connection in connections:
            send(connection, head(**CHUNKED) + chunk(CAT) + b"0\r\n" + b"a:\r\n" * 15_000)
        time.sleep(1)
        assert memory_mb(running) - before < 40
        for connection in connections:
            connection.sendall(b"\r\n")
            answer = read_answer(connection)
            assert answer
            assert answer.status == 200


def test_requests_behind_one_whose_answer_is_not_read_are_not_kept(running: Server) -> None:
    small = b"GET / HTTP/1.1\r\nHost:x\r\n\r\n"
    sent = head("GET", "/docs/files/swagger-ui-bundle.js")
    sent += small * (3 * READ_BYTES // len(small))
    before = memory_mb(running)
    with ExitStack() as opened:
        for _ in range(20):
            connection = opened.enter_context(connect_narrowly(running))
            send(connection, sent)
        time.sleep(1)
        assert memory_mb(running) - before < 20  # it was over 100
    assert post(running, CAT).status == 200
