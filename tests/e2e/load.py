"""Constant load from a few clients, and a small load-balancing proxy."""

import contextlib
import http.client
import itertools
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx2

from tests.e2e import web


@dataclass(frozen=True)
class Sent:
    """One request: when it was begun, how long it took, and its answer, or what went wrong."""

    at: float
    seconds: float
    status: int | None
    answer: dict[str, object]
    error: str | None = None


@dataclass
class Load:
    """Clients that send one picture over and over, as a context manager; each has its own thread.

    Attributes:
        url: address of the server, or a function that gives it.
        picture: what is sent.
        clients: number of clients.
        keep_alive: whether each keeps its connection as long as the server does.
        headers: of each request.
        uds: Unix socket of the server, to which the clients connect instead of the address.
        pause_s: how long each waits after an answer; may be changed meanwhile.
        sent: all requests that were answered, or failed after the connection was made.
        refused: number of connections that could not be made.
    """

    url: str
    picture: bytes
    clients: int = 4
    keep_alive: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    uds: Path | None = None
    pause_s: float = 0
    sent: list[Sent] = field(default_factory=list)
    refused: int = 0
    _counts: list[int] = field(default_factory=list)  # of the requests of each client
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._counts = [0] * self.clients
        for number in range(self.clients):
            self._threads.append(threading.Thread(target=self._send_all, args=(number,)))
            self._threads[-1].start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def failures(self) -> list[Sent]:
        """Requests that were not answered with 200."""
        return [sent for sent in self.sent if sent.status != 200]

    def wait_for(self, count: int) -> None:
        """Waits until so many more requests have been sent."""
        goal = len(self.sent) + count
        wait_until(lambda: len(self.sent) >= goal)

    def wait_for_each(self, count: int) -> None:
        """Waits until each client has sent so many more requests."""
        goals = [sent + count for sent in self._counts]
        wait_until(lambda: all(it >= goal for it, goal in zip(self._counts, goals, strict=True)))

    def _send_all(self, number: int) -> None:
        address = urlsplit(self.url)
        assert address.hostname is not None
        while not self._ended.is_set():
            connection = (
                UnixConnection(self.uds)
                if self.uds
                else http.client.HTTPConnection(address.hostname, address.port, timeout=30)
            )
            at = time.monotonic()  # a server that dies now takes the connection with it
            try:
                connection.connect()
            except OSError:
                connection.close()
                self.refused += 1
                time.sleep(0.05)
                continue
            self._send_on(connection, at, number)
            connection.close()

    def _send_on(self, connection: http.client.HTTPConnection, at: float, number: int) -> None:
        goes_on = True
        while goes_on and not self._ended.is_set():
            try:
                connection.request("POST", "/predict", self.picture, self.headers)
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.sent.append(Sent(at, time.monotonic() - at, None, {}, repr(error)))
                return
            is_ours = "json" in response.headers.get("content-type", "")
            answer = json.loads(body) if is_ours else {"body": body.decode()}
            self.sent.append(Sent(at, time.monotonic() - at, response.status, answer))
            self._counts[number] += 1
            goes_on = self.keep_alive and not response.will_close
            self._ended.wait(self.pause_s)
            at = time.monotonic()


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        """Does not connect yet."""
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        """Connects to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


class Proxy:
    """Forwards each connection to one of the servers that are ready, as a context manager."""

    def __init__(self) -> None:
        """Knows no server yet."""
        self._ready: dict[str, bool] = {}
        self._turn = itertools.count()
        self._ended = threading.Event()
        self._server = socketserver.ThreadingTCPServer(
            ("127.0.0.1", 0),
            self._handle,  # type: ignore[arg-type]  # called as a handler's class would be
        )
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.05,)),
            threading.Thread(target=self._probe),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()

    def add(self, url: str) -> None:
        """Knows one more server, and waits until it is ready."""
        self._ready[url] = False
        wait_until(lambda: self._ready[url])

    def _probe(self) -> None:
        while not self._ended.wait(0.05):
            for url in list(self._ready):
                try:
                    self._ready[url] = web.get(f"{url}/health/ready", timeout=30).is_success
                except httpx2.TransportError:
                    self._ready[url] = False

    def _handle(
        self, client: socket.socket, _address: object, _server: socketserver.BaseServer
    ) -> None:
        ready = [url for url, is_ready in self._ready.items() if is_ready]
        address = urlsplit(ready[next(self._turn) % len(ready)])
        with socket.create_connection((address.hostname, address.port)) as server:
            there = threading.Thread(target=_copy, args=(client, server))
            there.start()
            _copy(server, client)
            there.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
