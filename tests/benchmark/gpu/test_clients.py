"""Clients send, and count what comes back."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.benchmark.gpu.clients import Answer, Clients, count_statuses, post, summarise
from tests.benchmark.loopback import free_port
from tests.benchmark.wire import Body

REQUESTS = [post("/predict", Body({"X-Number": str(number)}, b"body")) for number in range(3)]


class Handler(BaseHTTPRequestHandler):
    """Answers each request by 200, and closes a connection after five; refuses the number 2."""

    protocol_version = "HTTP/1.1"
    seen = 0

    def do_POST(self) -> None:
        assert self.rfile.read(int(self.headers["Content-Length"])) == b"body"
        self.seen += 1
        self.send_response(503 if self.headers["X-Number"] == "2" else 200)
        self.send_header("Inference-Header-Content-Length", "0")
        self.send_header("Content-Length", "6")
        if self.seen == 5:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"answer")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_clients_count_good_answers_refusals_and_failures(port: int) -> None:
    answers: list[Answer] = []
    nobody: list[Answer] = []
    deadline = time.monotonic() + 60
    with Clients() as clients:
        while len(answers) <= 4 * 5:  # of a busy machine there may be few in half a second
            assert time.monotonic() < deadline
            answers = clients.send(port, REQUESTS, connections=4, seconds=0.5)
        while not nobody:
            assert time.monotonic() < deadline
            nobody = clients.send(free_port(), REQUESTS, connections=1, seconds=0.2)
    # A connection that the server closes as it says is no failure.
    assert {answer.status for answer in answers} == {200, 503}
    assert all(answer.ms > 0 for answer in answers)
    assert {answer.status for answer in nobody} == {0}


def test_answers_are_summed_up_between_two_moments() -> None:
    answers = [Answer(at=n / 100, ms=n, status=503 if n == 50 else 200) for n in range(300)]
    seen = summarise(answers, 0, 1)
    assert (seen.per_s, seen.failed) == (99, 1)
    assert seen.p50_ms == pytest.approx(49.5, abs=1)
    assert seen.p99_ms == pytest.approx(98, abs=1)
    assert summarise([], 0, 1) == (0, None, None, 0)


def test_statuses_are_counted_in_words() -> None:
    answers = [Answer(0, 1, status) for status in (200, 0, 200)]
    assert count_statuses(answers) == "1 x no answer, 2 x 200"
    assert count_statuses([]) == "none"
