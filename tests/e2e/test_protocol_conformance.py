"""The messages of tests/service/http/messages.py over TCP, to a real server."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.conftest import Server
from tests.e2e.hostile import connect
from tests.service.http.messages import GROUPS, MAX_HEAD_BYTES, Message, agrees, read_answers

# So long nothing more may come after the last answer, and between the two segments of a message.
QUIET_S = 0.1
PAUSE_S = 0.02
# Every so many bytes a message is cut; in process it is cut at each.
STEP = 7


@pytest.fixture(scope="module")
def running(server: Callable[..., Server], tiny_models: Path) -> Iterator[Server]:
    with server(
        models=tiny_models, model="tiny", workers=1, max_head_bytes=MAX_HEAD_BYTES, max_queue=10_000
    ) as running:
        yield running


@pytest.mark.parametrize("group", GROUPS)
def test_answers_are_the_same_over_tcp(running: Server, group: str) -> None:
    tries = [
        (message, place) for message in GROUPS[group] for place in range(0, len(message.sent), STEP)
    ]
    with ThreadPoolExecutor(32) as pool:
        wrong = list(pool.map(lambda try_: send_cut(running, *try_), tries))
    assert not any(wrong), "\n".join(filter(None, wrong))


def send_cut(server: Server, message: Message, place: int) -> str | None:
    """Sends a message in two segments, or in one if the place is 0.

    Returns:
        What is wrong.
    """
    with connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # it may have been refused by its first half
            if place:
                connection.sendall(message.sent[:place])
                time.sleep(PAUSE_S)
            connection.sendall(message.sent[place:])
        received, closed = read(connection, message)
    answers = read_answers(received, message.answers)
    if agrees(answers, message.answers) and closed == message.closes:
        return None
    return f"{message.name}, cut at {place}: {answers}, closed: {closed}"


def read(connection: socket.socket, message: Message) -> tuple[bytes, bool]:
    """All that comes back, and whether the connection was closed."""
    received = b""
    while True:
        answered = is_answered(received, message)
        if answered and not message.closes:
            connection.settimeout(QUIET_S)
        try:
            data = connection.recv(100_000)
        except TimeoutError:
            return received, False
        except ConnectionError:
            return received, True  # more was sent after the connection had been closed
        if not data:
            return received, True
        received += data


def is_answered(received: bytes, message: Message) -> bool:
    """Whether all answers are there, to their last byte."""
    try:
        answers = read_answers(received, message.answers)
    except (IndexError, KeyError):
        return False  # within a head
    return agrees(answers, message.answers)
