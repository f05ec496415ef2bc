"""The messages of the protocol's tests, sent through real proxies."""

import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e import proxies
from tests.e2e.conftest import StartServer
from tests.service.http.messages import (
    INNER,
    MALFORMED,
    MESSAGES,
    NO_BODY,
    NO_PICTURE,
    TOO_LARGE,
    Message,
    sized,
)

# The longest silence in which another answer may come, and the longest wait for one that must.
SILENCE_S, WAIT_S = 2.0, 30.0
CONNECTIONS = 64

_MARK = re.compile(r"/i\d{4}")
_ANSWER = re.compile(rb"(?=HTTP/1\.[01] \d{3} )")
# Neither proxy forwards an expectation to the end, nor is 100 an answer.
_CONTINUE = 100
_REFUSALS = {(400, MALFORMED), (400, NO_BODY), (431, TOO_LARGE)}

# nginx sends so long a body after the head, in segments of its own. A parser that takes the end of
# the head for the end of the request skips the empty lines and runs what follows.
LONG = Message(
    "h2c with a long body",
    sized(b"\r\n" * 600_000 + INNER, "Connection: Upgrade", "Upgrade: h2c"),
    ((415, NO_PICTURE),),
)
MAX_HEAD_BYTES = 2_000_000  # more than its empty lines

NUMBERED = list(enumerate((*MESSAGES, LONG)))
ACCEPTED = [
    pytest.param(number, message, id=message.name)
    for number, message in NUMBERED
    if _REFUSALS.isdisjoint(message.answers)
]


@dataclass(frozen=True)
class Traffic:
    """What was seen of all messages.

    Attributes:
        received: what came back, for each message.
        handed_on: how often the proxy says that it handed a marked request on.
        run: how often the service says that it answered a marked request.
    """

    received: list[bytes]
    handed_on: Counter[str]
    run: Counter[str]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(proxies.nginx, marks=proxies.needs_nginx, id="nginx"),
        pytest.param(
            partial(proxies.nginx, upgrade=True), marks=proxies.needs_nginx, id="nginx-upgrade"
        ),
        pytest.param(proxies.haproxy, marks=proxies.needs_haproxy, id="haproxy"),
    ],
)
def traffic(
    request: pytest.FixtureRequest,
    start_server: StartServer,
    tiny_models: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Traffic:
    """Sends every message, each on a connection of its own."""
    folder = tmp_path_factory.mktemp("proxy")
    with (
        start_server(
            models=tiny_models, model="tiny", workers=1, max_head_bytes=MAX_HEAD_BYTES
        ).wait_until_ready() as server,
        request.param(urlsplit(server.url).netloc, folder) as url,
        ThreadPoolExecutor(CONNECTIONS) as pool,
    ):
        address = urlsplit(url)
        received = list(
            pool.map(
                lambda it: exchange(address.port, marked(*it), len(expected_of(it[1]))), NUMBERED
            )
        )
    lines = (folder / "requests").read_text(errors="replace").splitlines()
    handed_on = [line for line in lines if line.startswith("127.0.0.1:")]
    paths = [str(json.loads(line).get("path")) for line in server.log.read_text().splitlines()]
    return Traffic(
        received,
        Counter(_MARK.findall("\n".join(handed_on))),
        Counter(path for path in paths if _MARK.fullmatch(path)),
    )


def marked(number: int, message: Message) -> bytes:
    """The message, in which the path of an inner request tells which message it is in."""
    mark = b"/i%04d" % number
    assert len(mark) == len(b"/inner")
    assert b"/inner" in INNER
    return message.sent.replace(b"/inner", mark)


def expected_of(message: Message) -> list[tuple[int, bytes | None]]:
    """Its answers, of which 100 is none."""
    return [(status, body) for status, body in message.answers if status != _CONTINUE]


def exchange(port: int, sent: bytes, expected: int) -> bytes:
    """Sends a message; returns what comes back until the end.

    A silence is the end once so many answers have come, or one of the proxy.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as connection:
        try:
            connection.sendall(sent)
            while data := connection.recv(65536):
                received += data
                came = [answer for _, answer in answers(received)]
                done = len(came) >= expected or any(map(is_of_the_proxy, came))
                connection.settimeout(SILENCE_S if done else WAIT_S)
        except (TimeoutError, ConnectionError):
            pass  # a proxy keeps a connection open, or closes one on which more was sent
    return received


def answers(received: bytes) -> Iterator[tuple[int, bytes]]:
    """The status of each answer, and its bytes with the head."""
    for answer in _ANSWER.split(received)[1:]:
        status = int(answer.split(b" ", 2)[1])
        if status != _CONTINUE:
            yield status, answer


def is_of_the_proxy(answer: bytes) -> bool:
    """Whether the proxy answered in place of the service."""
    return b"\r\nx-request-id: " not in answer.lower()


def test_no_byte_of_a_body_runs_as_a_request(traffic: Traffic) -> None:
    smuggled = traffic.run - traffic.handed_on
    assert {NUMBERED[int(mark[2:])][1].name for mark in smuggled} == set()


@pytest.mark.parametrize(("number", "message"), ACCEPTED)
def test_accepted_message_has_its_answers_in_order(
    traffic: Traffic, number: int, message: Message
) -> None:
    expected = expected_of(message)
    came = list(answers(traffic.received[number]))
    for (status, answer), (right, content) in zip(came, expected, strict=False):
        if is_of_the_proxy(answer):
            assert status >= 400
            break
        assert status == right
        assert (content or b"") in answer
    else:
        assert len(came) >= len(expected)
