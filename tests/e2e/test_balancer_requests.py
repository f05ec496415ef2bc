"""What HAProxy hands on, with the configuration that ships, to servers that note what they get."""

import http.server
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from email.message import Message
from pathlib import Path

import httpx2
import pytest

from service.http.problems import MEDIA_TYPE
from service.settings import Settings
from tests.benchmark.loopback import free_port
from tests.e2e import proxies, web
from tests.e2e.balancer import CONF, Names, balancer
from tests.e2e.load import wait_until

pytestmark = proxies.needs_haproxy

HOSTS = ("127.0.0.2", "127.0.0.3")
CLIENT = "127.0.0.7"
WAIT_S = 10
QUEUE = Settings().max_queue
DRAIN_S = Settings().drain_s  # within which it has to be noticed


class Upstream(http.server.ThreadingHTTPServer):
    """A server that takes pictures.

    Attributes:
        request_queue_size: connections that wait to be accepted, else five.
        heads: the headers of each picture that it got.
        status: of its answer to each; a client may come again after 7 s.
        ready: whether it says that it is.
        refused_checks: how often it has said that it is not.
        silent: whether it closes the connection in place of an answer.
        answering: set while it answers pictures; they wait for that.
    """

    request_queue_size = QUEUE

    def __init__(self, host: str, port: int) -> None:
        """Listens, and answers nothing yet."""
        super().__init__((host, port), _Handler)
        self.heads: list[Message] = []
        self.status = 200
        self.ready = True
        self.refused_checks = 0
        self.silent = False
        self.answering = threading.Event()
        self.answering.set()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_GET(self) -> None:
        ready = self.server.ready or self.path != "/health/ready"
        self._answer(200 if ready else 503)
        self.server.refused_checks += not ready

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heads.append(self.headers)
        self.server.answering.wait(WAIT_S)
        if self.server.silent:
            self.close_connection = True
        else:
            self._answer(self.server.status)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Retry-After", "7")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def upstreams() -> Iterator[list[Upstream]]:
    """Two servers at one port."""
    port = free_port()
    servers = [Upstream(host, port) for host in HOSTS]
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in servers]
    for thread in threads:
        thread.start()
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()
    for thread in threads:
        thread.join()


@pytest.fixture
def url(upstreams: list[Upstream], tmp_path: Path) -> Iterator[str]:
    """The address of a balancer that knows both to be ready."""
    with Names(*HOSTS) as names, balancer(names, upstreams[0].server_port, tmp_path) as url:
        wait_until(lambda: web.get(f"{url}/").status_code == 200)
        yield url


def test_instance_that_is_not_ready_gets_no_request(url: str, upstreams: list[Upstream]) -> None:
    away, here = upstreams
    away.ready = False
    # The balancer counts it out with the second one, before it sends a third.
    wait_until(lambda: away.refused_checks >= 3)
    for _ in range(4):
        web.post(f"{url}/predict", content=b"picture")
    assert (len(away.heads), len(here.heads)) == (0, 4)


def test_instance_that_drains_is_counted_out_before_it_stops() -> None:
    """By the pauses between its checks: how long they take themselves depends on the machine."""
    (line,) = re.findall(r"^    default-server (.*)$", CONF.read_text(), re.MULTILINE)
    pauses = dict(re.findall(r"\b(inter|fastinter) (\d+)ms\b", line))
    (fall,) = re.findall(r"\bfall (\d+)\b", line)
    assert int(fall) == 2  # after so many, as the test above takes for granted
    assert int(pauses["inter"]) + (int(fall) - 1) * int(pauses["fastinter"]) < DRAIN_S * 1000


def test_request_goes_to_the_instance_with_the_fewest_in_progress(
    url: str, upstreams: list[Upstream]
) -> None:
    for server in upstreams:
        server.answering.clear()
    with ThreadPoolExecutor() as pool:
        for number in range(1, 4):
            pool.submit(web.post, f"{url}/predict", content=b"picture", timeout=WAIT_S)
            wait_until(lambda: sum(len(server.heads) for server in upstreams) == number)  # noqa: B023
        idle, busy = sorted(upstreams, key=lambda server: len(server.heads))
        assert (len(idle.heads), len(busy.heads)) == (1, 2)
        # HAProxy may count a request for a moment after its answer has arrived: 1 is less than 2.
        idle.answering.set()
        for _ in range(4):
            web.post(f"{url}/predict", content=b"picture", timeout=WAIT_S)
        assert (len(idle.heads), len(busy.heads)) == (5, 2)
        busy.answering.set()


def test_503_is_repeated_and_then_reaches_the_client(url: str, upstreams: list[Upstream]) -> None:
    for server in upstreams:
        server.status = 503
    answer = web.post(f"{url}/predict", content=b"picture")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "7"
    assert sum(len(server.heads) for server in upstreams) == 3


def test_503_is_not_repeated_while_queues_may_be_full(url: str, upstreams: list[Upstream]) -> None:
    for server in upstreams:
        server.status = 503
        server.answering.clear()
    # Without httpx2: 256 clients and threads of it would take longer than the servers wait.
    address = "127.0.0.1", int(url.rpartition(":")[2])
    request = b"POST /predict HTTP/1.1\r\nHost: instance\r\nContent-Length: 7\r\n\r\npicture"
    with ExitStack() as stack:
        for _ in range(QUEUE):
            stack.enter_context(socket.create_connection(address)).sendall(request)
        wait_until(lambda: sum(len(server.heads) for server in upstreams) == QUEUE)
        pool = stack.enter_context(ThreadPoolExecutor())
        late = {"X-Request-ID": "late"}
        answer = pool.submit(web.post, f"{url}/predict", content=b"picture", headers=late)
        wait_until(lambda: count(upstreams, "late") == 1)
        for server in upstreams:
            server.answering.set()
        assert answer.result().status_code == 503
    assert count(upstreams, "late") == 1


def count(upstreams: list[Upstream], request_id: str) -> int:
    """How often a request was handed on."""
    return sum(head["x-request-id"] == request_id for server in upstreams for head in server.heads)


def test_request_without_an_answer_is_repeated_with_its_id(
    url: str, upstreams: list[Upstream]
) -> None:
    for server in upstreams:
        server.silent = True
    assert web.post(f"{url}/predict", content=b"picture").status_code >= 500
    ids = [head["x-request-id"] for server in upstreams for head in server.heads]
    assert len(ids) == 3
    assert len(set(ids)) == 1


def test_request_that_does_not_fit_into_the_buffer_is_not_repeated(
    url: str, upstreams: list[Upstream]
) -> None:
    for server in upstreams:
        server.silent = True
    answer = web.post(f"{url}/predict", content=bytes(100_000))
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json()["status"] == answer.status_code == 502
    assert sum(len(server.heads) for server in upstreams) == 1


def test_request_has_the_address_of_its_client_and_an_id(
    url: str, upstreams: list[Upstream]
) -> None:
    headers = {"X-Forwarded-For": "192.0.2.7"}  # anyone can claim that
    transport = httpx2.HTTPTransport(verify=False, local_address=CLIENT)
    with httpx2.Client(transport=transport, timeout=web.TIMEOUT_S) as client:
        client.post(f"{url}/predict", content=b"picture", headers=headers)
        client.post(f"{url}/predict", content=b"picture", headers={"X-Request-ID": "mine-42"})
    heads = [head for server in upstreams for head in server.heads]
    assert [head.get_all("x-forwarded-for") for head in heads] == [[CLIENT], [CLIENT]]
    made, kept = sorted((head["x-request-id"] for head in heads), key=len, reverse=True)
    assert re.fullmatch(r"[0-9a-f-]{36}", made)
    assert kept == "mine-42"
