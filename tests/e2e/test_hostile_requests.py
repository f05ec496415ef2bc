"""Hostile requests, and requests that are merely odd, against a real server."""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import Server
from tests.e2e.hostile import (
    TORTURE,
    connect,
    exchange,
    head,
    memory_mb,
    peak_memory_mb,
    post,
    read_answer,
)

CAT = Path("tests/data/cat.jpg").read_bytes()
# Of the service that is hasty.
HEAD_TIMEOUT_S = 1.0
BODY_TIMEOUT_S = 6.0
# Within which a good request is answered, also by a process that is not run for a while.
AT_ONCE_S = 5.0
SETTINGS = {"model": "tiny", "workers": 1, "max_pending_bytes": 60_000_000, "admin_keys": "root"}
# One worker; a busy one takes about 120.
MEMORY_MB = 500
FORM = "multipart/form-data; boundary=b"
CHUNKED = {"transfer_encoding": "chunked"}


@pytest.fixture(scope="module")
def running(server: Callable[..., Server], tiny_models: Path) -> Iterator[Server]:
    with watched(server(**SETTINGS, models=tiny_models)) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(server: Callable[..., Server], tiny_models: Path) -> Iterator[Server]:
    """The same, where clients that take long are disconnected soon."""
    timeouts = {
        "head_timeout_ms": int(HEAD_TIMEOUT_S * 1000),
        "body_timeout_ms": int(BODY_TIMEOUT_S * 1000),
    }
    with watched(server(**SETTINGS, **timeouts, models=tiny_models)) as running:
        yield running


@contextmanager
def watched(server: Server) -> Iterator[Server]:
    """Stops a server in the end, and checks what it took and what it logged."""
    with server:
        yield server
        assert peak_memory_mb(server) < MEMORY_MB
        assert "unhandled error" not in server.log.read_text()


def is_well(server: Server) -> bool:
    """Whether a good request is answered at once."""
    start = time.monotonic()
    return post(server, CAT).status == 200 and time.monotonic() - start < AT_ONCE_S


def part(name: str = "file", content: bytes = CAT, more: str = '; filename="x"') -> bytes:
    header = f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return header.encode("latin-1") + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


# Forms, and what each is answered with.
FORMS: dict[str, tuple[str, bytes, str]] = {
    "no boundary": ("multipart/form-data", form(part()), "malformed-form"),
    "empty boundary": ("multipart/form-data; boundary=", form(part()), "malformed-form"),
    "other boundary": ("multipart/form-data; boundary=c", form(part()), "malformed-form"),
    "endless boundary": (f"multipart/form-data; boundary={'b' * 9000}", form(), "malformed-form"),
    "no parts": (FORM, b"--b--\r\n", "missing-field"),
    "no end": (FORM, part(), "malformed-form"),
    "no form": (FORM, CAT, "malformed-form"),
    "100 texts": (FORM, form(part("x", b"x", "") * 100), "malformed-form"),
    "10,000 texts": (FORM, form(part("x", b"x", "") * 10_000), "too-many-files"),
    "10,000 files": (FORM, form(part("x", b"x") * 10_000), "too-many-files"),
    "endless part header": (FORM, b"--b\r\nA: " + b"a" * 1_000_000, "malformed-form"),
    "many part headers": (FORM, b"--b\r\n" + b"A: b\r\n" * 100_000, "malformed-form"),
    "unnamed part": (FORM, form(b"--b\r\nA: b\r\n\r\nx\r\n"), "malformed-form"),
    "broken base64": (
        FORM,
        form(
            part(content=b"=").replace(
                b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1
            )
        ),
        "malformed-form",
    ),
    "misnamed field": (FORM, form(part("files")), "missing-field"),
    "text in the place of a file": (FORM, form(part(more="")), "missing-field"),
    "empty file": (FORM, form(part(content=b"")), "empty-upload"),
    "two files": (FORM, form(part(), part()), "too-many-files"),
    "form in a form": (
        FORM,
        form(part(content=form(part()).replace(b"--b", b"--c"))),
        "unsupported-format",
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_odd_form_is_refused(running: Server, name: str) -> None:
    content_type, body, slug = FORMS[name]
    assert post(running, body, content_type=content_type).slug == slug


# What forms may look like all the same.
@pytest.mark.parametrize(
    "more",
    [
        '; filename="\xff\xfe.jpg"',
        '; filename=""',
        '; filename="../../etc/passwd"',
        f'; filename="{"x" * 2000}"',
        '; filename="a\\"b.jpg"',
    ],
)
def test_name_of_the_file_does_not_matter(running: Server, more: str) -> None:
    assert post(running, form(part(more=more)), content_type=FORM).status == 200


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("", 200),
        ("image/jpeg", 200),
        ("image/\xff", 200),
        ("application/json", 200),
        ("text/plain; charset=nonsense", 200),
        ("x" * 10_000, 200),
        ("multipart/mixed; boundary=b", 200),
        ("MULTIPART/FORM-DATA; BOUNDARY=b", 400),
        ("multipart/form-data-not-quite", 400),
    ],
)
def test_anything_but_a_form_is_taken_as_the_picture(
    running: Server, content_type: str, status: int
) -> None:
    assert post(running, CAT, content_type=content_type).status == status


TOP_K = ["0", "-1", "11", "NaN", "1e1", "1.5", "", "%00", "%ff", "9" * 5000]


@pytest.mark.parametrize("query", [*(f"top_k={value}" for value in TOP_K), "include_input=perhaps"])
def test_odd_parameter_is_422(running: Server, query: str) -> None:
    assert post(running, CAT, f"/predict?{query}").slug == "invalid-parameter"


def test_body_over_the_limit_is_413_before_it_is_sent(running: Server) -> None:
    answer = exchange(running, [head(content_length=100_000_000)])
    assert answer
    assert answer.slug == "body-too-large"


def test_body_over_the_limit_is_413_while_it_is_sent(running: Server) -> None:
    body = itertools.repeat(bytes(1_000_000), 100)
    answer = exchange(running, [head(content_length=100_000_000), *body])
    assert answer
    assert answer.slug == "body-too-large"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_body_of_unknown_length_is_413_at_the_limit(running: Server) -> None:
    chunks = itertools.repeat(chunk(bytes(1_000_000)), 100)
    answer = exchange(running, itertools.chain([head(**CHUNKED)], chunks, [b"0\r\n\r\n"]))
    assert answer
    assert answer.slug == "body-too-large"


@pytest.mark.alone
def test_endless_body_is_disconnected_after_its_refusal(hasty: Server) -> None:
    sent, refused = 0, False
    with connect(hasty) as connection:
        connection.sendall(head(**CHUNKED))
        start = time.monotonic()
        try:
            while time.monotonic() - start < 60:
                connection.sendall(chunk(bytes(100_000)))
                sent += 1
        except ConnectionError:
            refused = True
    assert refused
    assert is_well(hasty)


@pytest.mark.parametrize(
    "end",
    [b"0\r\n" + b"X: y\r\n" * 100_000, b"0\r\nX: " + b"y" * 1_000_000, b"1;" + b"x" * 1_000_000],
)
def test_endless_trailer_or_extension_is_400(running: Server, end: bytes) -> None:
    before = memory_mb(running)
    answer = exchange(running, [head(**CHUNKED), chunk(CAT), end])
    assert answer
    assert answer.slug == "malformed-request"
    assert memory_mb(running) - before < 50


def test_a_few_trailers_do_no_harm(running: Server) -> None:
    answer = exchange(running, [head(**CHUNKED), chunk(CAT) + b"0\r\nX-Request-ID: a\r\n\r\n"])
    assert answer
    assert answer.status == 200
    assert answer.headers["x-request-id"] != "a"


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_offer_of_another_protocol_is_ignored(running: Server, protocol: str) -> None:
    """Java's client makes one with its first request, and `curl --http2` too."""
    headers = {"Connection": "Upgrade, HTTP2-Settings", "UPGRADE": protocol}
    assert post(running, CAT, **headers).status == 200
    answer = exchange(running, [head("GET", "/health/live", **headers)])
    assert answer
    assert answer.status == 200


@pytest.mark.parametrize(
    "body", [b"zz\r\n", b"-1\r\nx\r\n", b"1\r\nxx\r\n", b"ffffffffffffffffff\r\nx\r\n"]
)
def test_broken_chunks_are_400(running: Server, body: bytes) -> None:
    answer = exchange(running, [head(**CHUNKED) + chunk(b"hello"), body])
    assert answer
    assert answer.slug == "malformed-request"


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET \xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA\0: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \0\r\n\r\n",
        b"GET / HTTP/1.1\r\n: b\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_invalid_http_is_400(running: Server, request_: bytes) -> None:
    answer = exchange(running, [request_])
    assert answer
    assert answer.slug == "malformed-request"


@pytest.mark.parametrize(
    "lines",
    [
        ["x: " + "x" * 70_000],
        [f"x-{i}: {'x' * 10}" for i in range(10_000)],
        ["x" * 70_000 + ": x"],
    ],
)
def test_flood_of_headers_is_431(running: Server, lines: list[str]) -> None:
    flood = "\r\n".join(["GET /health HTTP/1.1", *lines, "", ""]).encode()
    for pieces in (
        [flood],
        [flood[:-2]],
        [flood[i : i + 5000] for i in range(0, len(flood), 5000)],
    ):
        answer = exchange(running, pieces)
        assert answer
        assert (answer.status, answer.slug) == (431, "head-too-large")


def test_long_path_is_431_and_two_hundred_headers_are_not(running: Server) -> None:
    answer = exchange(running, [head("GET", "/" + "x" * 70_000)])
    assert answer
    assert answer.status == 431
    headers = {f"x-{i}": "x" * 50 for i in range(200)}
    assert post(running, CAT, **headers).status == 200


def dribble(data: bytes) -> Iterator[bytes]:
    return (data[i : i + 1] for i in range(len(data)))


def test_dribbled_head_is_408(hasty: Server) -> None:
    start = time.monotonic()
    answer = exchange(hasty, dribble(head(x="x" * 1000)), pause_s=0.05)
    assert answer
    assert (answer.status, answer.slug) == (408, "slow-head")
    assert answer.headers["connection"] == "close"
    assert time.monotonic() - start < HEAD_TIMEOUT_S + 5


def test_dribbled_body_is_408(hasty: Server) -> None:
    start = time.monotonic()
    pieces = itertools.chain([head(content_length=1000)], dribble(bytes(1000)))
    answer = exchange(hasty, pieces, pause_s=0.05)
    assert answer
    assert (answer.status, answer.slug) == (408, "slow-body")
    assert time.monotonic() - start < BODY_TIMEOUT_S + 5


@pytest.mark.parametrize("sent", [b"", b"\r\n" * 3], ids=["silent", "blank lines"])
def test_silent_client_is_disconnected(hasty: Server, sent: bytes) -> None:
    start = time.monotonic()
    with connect(hasty) as connection:
        connection.sendall(sent)
        answer = read_answer(connection)
    assert answer is None or answer.status == 408
    assert time.monotonic() - start < HEAD_TIMEOUT_S + 5


def test_client_who_does_not_read_is_disconnected(hasty: Server) -> None:
    request = head("GET", "/docs/files/swagger-ui-bundle.js") * 20
    with connect(hasty) as connection:
        connection.sendall(request)
        time.sleep(HEAD_TIMEOUT_S + 1)
        with pytest.raises(ConnectionError):  # noqa: PT012 (which of them fails is a matter of luck)
            for _ in range(100):
                connection.sendall(request)
                time.sleep(0.05)


@pytest.mark.alone
def test_slow_senders_hold_nothing_that_others_need(hasty: Server) -> None:
    """A hundred dribble heads, a hundred bodies; meanwhile good requests are answered."""
    with ThreadPoolExecutor(200) as pool:
        heads = [pool.submit(exchange, hasty, dribble(head(x="x" * 100)), 0.05) for _ in range(100)]
        bodies = [
            pool.submit(exchange, hasty, [head(content_length=20_000_000), bytes(1000)], 0)
            for _ in range(100)
        ]
        for _ in range(5):
            assert post(hasty, CAT).status == 200
        assert not any(future.done() for future in bodies)  # they are still being sent
        answers = [future.result() for future in heads + bodies]
    assert {answer.status for answer in answers if answer} == {408}


@pytest.mark.alone
def test_bytes_of_all_bodies_together_are_bounded(hasty: Server) -> None:
    """Thirty send all of their 10 MB but the last byte; six at most are let in."""
    unfinished = [head(content_length=10_000_001), bytes(10_000_000)]
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: exchange(hasty, unfinished), range(30)))
    refused = [answer for answer in answers if answer and answer.status == 503]
    assert len(refused) >= 24
    assert {answer.slug for answer in refused} == {"queue-full"}
    assert all(answer.headers["retry-after"] for answer in refused)
    assert {answer.status for answer in answers if answer} <= {408, 503}
    assert is_well(hasty)


@pytest.mark.parametrize(
    ("key", "paths"),
    [("none", "^(?!/v2/repository)"), ("root", "^/v2/repository")],
    ids=["service", "administration"],
)
def test_openapi_document_is_kept_to_by_every_route(
    running: Server, tmp_path: Path, key: str, paths: str
) -> None:
    """Schemathesis makes requests out of it, right and wrong, and checks each answer."""
    before = memory_mb(running)
    schemathesis = str(Path(sys.executable).with_name("schemathesis"))
    config = str(Path("tests/e2e/schemathesis.toml").resolve())
    command = [schemathesis, "--config-file", config, "--no-color", "run"]
    command += [f"{running.url}/openapi.json", "--include-path-regex", paths]
    # It cannot know which bytes are a picture, and sends a good key beside a bad one.
    command += ["--checks", "all", "--exclude-checks", "positive_data_acceptance,ignored_auth"]
    command += ["--max-examples", "300" if TORTURE else "5", "--request-timeout", "15"]
    command += ["--header", f"X-API-Key: {key}", "--continue-on-failure", "--warnings", "off"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if key == "root":  # it may have unloaded the model
        post(running, b"", "/v2/repository/models/tiny/load", x_api_key=key)
    assert result.returncode == 0, result.stdout
    assert memory_mb(running) - before < 50
