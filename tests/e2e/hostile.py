"""Raw connections to a server, and the memory that it takes."""

import contextlib
import http.client
import json
import os
import re
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from service.http.problems import MEDIA_TYPE, TYPE_PREFIX
from tests.e2e.conftest import Server

# Set by `make torture`: many times the work.
TORTURE = "TORTURE" in os.environ
# The longest that a client waits here, in seconds. Large pictures are decoded with a low priority:
# beside busy processes that takes many times as long.
PATIENCE_S = 300
# The service's own deadline, where it is not to be reached.
DEADLINE_MS = 240_000


@dataclass(frozen=True)
class Answer:
    """An answer of a server."""

    status: int
    headers: dict[str, str]
    body: bytes

    def problem(self) -> dict[str, Any]:
        """Its problem document."""
        assert self.headers["content-type"] == MEDIA_TYPE, self
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        assert document["detail"]
        return document

    @property
    def slug(self) -> str:
        """The short name of its problem."""
        return str(self.problem()["type"]).removeprefix(TYPE_PREFIX)


def connect(server: Server) -> socket.socket:
    """Opens a connection."""
    address = urlsplit(server.url)
    assert address.hostname
    assert address.port
    return socket.create_connection((address.hostname, address.port), PATIENCE_S)


def exchange(server: Server, pieces: Iterable[bytes], pause_s: float = 0) -> Answer | None:
    """Sends a request piece by piece, as far as the server takes it.

    Returns:
        The answer; None if the server closes the connection without one.
    """
    with connect(server) as connection:
        with contextlib.suppress(ConnectionError):  # it reads no more, and may have answered
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause_s)
        return read_answer(connection)


def read_answer(connection: socket.socket) -> Answer | None:
    """Reads an answer; None if the server closes the connection without one."""
    response = http.client.HTTPResponse(connection)
    try:
        response.begin()
        body = response.read()
    except (http.client.BadStatusLine, ConnectionError):
        return None
    finally:
        response.close()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, body)


def head(method: str = "POST", path: str = "/predict", **headers: object) -> bytes:
    """The head of a request; `content_length=3` makes the header content-length."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: x", *lines, "", ""]).encode("latin-1")


def post(server: Server, body: bytes, path: str = "/predict", **headers: object) -> Answer:
    """Posts a body."""
    pieces = [head("POST", path, content_length=len(body), **headers), body]
    answer = exchange(server, pieces)
    assert answer is not None
    return answer


def peak_memory_mb(server: Server) -> int:
    """The most memory that its processes have ever taken, in megabytes, added up."""
    total = 0
    for process in _tree(server):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        assert found
        total += int(found[1])
    return total // 1000


def memory_mb(server: Server) -> int:
    """The memory that its processes take now, in megabytes."""
    return sum(process.memory_info().rss for process in _tree(server)) // 1_000_000


def _tree(server: Server) -> list[psutil.Process]:
    supervisor = psutil.Process(server.process.pid)
    return [supervisor, *supervisor.children(recursive=True)]
