"""What a server under test needs, by the standard library alone: a port, requests, its metrics."""

import http.client
import re
import socket

from tests.benchmark.wire import Body

HOST = "127.0.0.1"
_TIMEOUT_S = 30


def free_port() -> int:
    """A port of the loopback interface that nobody uses at present."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def ask(port: int, path: str, body: Body | None = None) -> tuple[int, str]:
    """Status and text of an answer: to a GET, or to a POST where there is a body.

    Raises:
        OSError: the connection fails.
        http.client.HTTPException: the answer is no HTTP.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT_S)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, body.content, body.headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def sum_of_samples(metrics: str, name: str) -> float:
    """Adds up all samples of a metric in the text format of Prometheus, or of one of its labels."""
    pattern = rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$"
    return sum(float(value) for value in re.findall(pattern, metrics, re.MULTILINE))
