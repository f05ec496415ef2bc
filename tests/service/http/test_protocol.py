"""Our protocol in uvicorn, around a fake engine; what it bounds is in tests/e2e."""

import asyncio
import json
import logging
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
import uvicorn
from fastapi import FastAPI

from service.http.protocol import MAX_HEADERS, MAX_PIPELINED, BoundedProtocol
from service.inference.model_server import ModelServer
from tests.service.conftest import FakeEngine, colour, keep_busy
from tests.service.http.conftest import Serve
from tests.service.http.messages import RED, chunked, get, post, read_answers, sized

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("size", [100, 200_000], ids=["small", "large"])
async def test_client_who_leaves_is_noticed_at_once(
    make_app: Callable[..., FastAPI], engine: FakeEngine, size: int
) -> None:
    app = make_app()
    model_server: ModelServer = app.state.model_server
    server = uvicorn.Server(uvicorn.Config(app, http=BoundedProtocol, log_config=None, port=0))
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([listener]))
    while model_server.snapshot is None:
        await asyncio.sleep(0.01)
    busy = await keep_busy(model_server, engine)
    body = colour("blue").ljust(size)
    _, writer = await asyncio.open_connection(*listener.getsockname())
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % len(body) + body)
    while not model_server.queue_depth:
        await asyncio.sleep(0.01)
    writer.close()
    async with asyncio.timeout(10):
        while model_server.queue_depth:
            await asyncio.sleep(0.01)
    engine.go.set()
    await busy
    server.should_exit = True
    await serving
    assert engine.batches == [1]


class Refusal(NamedTuple):
    """Bytes that the protocol refuses by itself."""

    sent: bytes
    status: int
    reason: str


REFUSALS = [
    Refusal(b"nonsense\r\n\r\n", 400, "malformed-request"),
    Refusal(get("/a", method="CONNECT"), 400, "malformed-request"),
    Refusal(get("/a", "X: y")[:-2], 408, "slow-head"),
    Refusal(get("/" + "x" * 1000), 431, "head-too-large"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal.status}")
async def test_refused_head_is_in_the_metrics_and_the_access_log(
    serve: Serve, caplog: pytest.LogCaptureFixture, refusal: Refusal
) -> None:
    caplog.set_level(logging.INFO, "service")
    async with serve(max_head_bytes=1000, head_timeout_ms=100) as connect:
        transport = connect()
        transport.send(refusal.sent)
        await until(lambda: transport.is_ended)
        metrics = connect()
        metrics.send(get("/metrics"))
        await until(lambda: b"http_requests_total" in metrics.received)
    head, _, body = transport.received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % refusal.status)
    (line,) = [entry for entry in caplog.records if entry.message == "request"]
    fields = line.__dict__["fields"]
    assert b"\r\nx-request-id: %b\r\n" % fields["request_id"].encode() in head
    assert json.loads(body)["request_id"] == fields["request_id"]
    assert (fields["status"], fields["client"]) == (refusal.status, "192.0.2.1")
    assert fields["sent_bytes"] == len(body)
    # It took as long as the head did to arrive.
    assert (fields["duration_ms"] > 50) == (refusal.status == 408)
    expected = f'http_requests_total{{route="unmatched",status="{refusal.status}"}} 1.0'
    assert expected.encode() in metrics.received
    expected = f'classifier_rejections_total{{model="",reason="{refusal.reason}"}} 1.0'
    assert expected.encode() in metrics.received


async def test_refused_body_is_in_the_metrics_and_the_access_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "service")
    async with serve() as connect:
        transport = connect()
        transport.send(chunked(b"zz\r\n", headers=("X-Request-ID: one",)))
        await until(lambda: transport.is_ended)
        metrics = connect()
        metrics.send(get("/metrics"))
        await until(lambda: b"http_requests_total" in metrics.received)
    assert b"\r\nx-request-id: one\r\n" in transport.received
    (line,) = [entry for entry in caplog.records if entry.message == "request"]
    fields = line.__dict__["fields"]
    assert (fields["path"], fields["status"], fields["request_id"]) == ("/predict", 400, "one")
    assert b'http_requests_total{route="/predict",status="400"} 1.0' in metrics.received
    rejections = b'classifier_rejections_total{model="tiny",reason="malformed-request"}'
    assert rejections + b" 1.0" in metrics.received


async def test_refusal_waits_for_the_answer_to_the_request_before_it(
    serve: Serve, engine: FakeEngine
) -> None:
    async with serve() as connect:
        transport = connect()
        engine.go.clear()
        transport.send(sized(RED) + b"nonsense\r\n\r\n")
        await until(lambda: engine.batches == [1])
        assert not transport.received
        engine.go.set()
        await until(lambda: transport.is_ended)
        transport.send(get("/a"))  # dropped: the connection has ended
        await asyncio.sleep(0.05)
    assert [status for status, _ in read_answers(transport.received, ())] == [200, 400]


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", chunked(b"zz\r\n")], ids=["head", "body"])
async def test_refused_client_who_does_not_leave_is_disconnected(serve: Serve, sent: bytes) -> None:
    async with serve(head_timeout_ms=100) as connect:
        transport = connect()
        transport.send(sent)
        await until(lambda: transport.is_ended)
        transport.send(bytes(100_000))  # read and dropped
        await until(transport.is_closing)
    assert transport.lingered_s > 0.05


@pytest.mark.parametrize("more", [b"", get("/b"), b"nonsense\r\n\r\n"])
async def test_client_who_sends_and_does_not_read_is_disconnected(
    serve: Serve, more: bytes
) -> None:
    async with serve(head_timeout_ms=100) as connect:
        transport = connect()
        transport.pause_writing()
        transport.send(get("/a") + more)
        await until(transport.is_closing)
    assert not transport.received


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (sized(RED), [200]),
        (sized(RED, "Connection: close"), [200]),
        (get("/a", method="HEAD"), [404]),
        (sized(RED) + get("/a"), [200, 404]),
        (sized(RED) + b"nonsense\r\n\r\n", [200, 400]),
        (post(RED, f"Content-Length: {len(RED)}", "Expect: 100-continue"), [100, 200]),
    ],
    ids=["kept", "closed", "without a body", "two answers", "refused", "interim answer"],
)
async def test_each_answer_is_one_write(serve: Serve, sent: bytes, statuses: Sequence[int]) -> None:
    # What is paused or killed between two writes would leave half of an answer.
    async with serve() as connect:
        transport = connect()
        transport.send(sent)
        await until(lambda: len(transport.writes) == len(statuses))
        await asyncio.sleep(0.05)
    assert [int(write.split()[1]) for write in transport.writes] == statuses


async def test_early_answer_is_not_lost_while_the_body_arrives(serve: Serve) -> None:
    async with serve(head_timeout_ms=100) as connect:
        transport = connect()
        transport.send(post(b"x", "Content-Length: 99999999999", "Connection: close"))
        await until(transport.is_closing)
    assert transport.lingered_s > 0.05
    assert transport.received.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "sent",
    [b"nonsense\r\n\r\n", post(b"x", "Content-Length: 99999999999")],
    ids=["refused", "answered early"],
)
async def test_server_that_stops_does_not_wait_for_a_client_who_has_its_answer(
    serve: Serve, sent: bytes
) -> None:
    async with serve() as connect:
        transport = connect()
        transport.send(sent)
        await until(lambda: b"\r\n\r\n{" in transport.received)
        assert not transport.is_closing()
        transport.stop_server()
        assert transport.is_closing()


@pytest.mark.parametrize("end", [b"\r\n", b""], ids=["complete", "unfinished"])
async def test_head_of_many_headers_is_refused_at_once(serve: Serve, end: bytes) -> None:
    most = ["a:"] * (MAX_HEADERS - 1)  # one more names the host
    async with serve() as connect:
        transport = connect()
        transport.send(get("/a", *most))
        await until(lambda: b"\r\n\r\n" in transport.received)
        assert transport.received.startswith(b"HTTP/1.1 404 ")
        transport = connect()
        transport.send(get("/a", *most, "a:", "b:")[:-2] + end)
        await until(lambda: transport.is_ended)
    assert transport.received.startswith(b"HTTP/1.1 431 ")


async def test_many_trailers_are_dropped_however_they_are_cut(serve: Serve) -> None:
    sent = chunked(b"%x\r\n%b\r\n0\r\n" % (len(RED), RED) + b"a:\r\n" * 2 * MAX_HEADERS + b"\r\n")
    async with serve() as connect:
        for size in (len(sent), 100):
            transport = connect()
            for start in range(0, len(sent), size):
                transport.send(sent[start : start + size])
            await until(lambda: b"predictions" in transport.received)  # noqa: B023
            assert transport.received.startswith(b"HTTP/1.1 200 ")


async def test_last_request_that_may_wait_is_answered_and_ends_the_connection(
    serve: Serve, engine: FakeEngine
) -> None:
    async with serve() as connect:
        engine.go.clear()
        transport = connect()
        last = sized(RED)
        # Its body comes later, and is read once no other request waits.
        sent = sized(RED) + get("/health/live") * (MAX_PIPELINED - 1) + last
        transport.send(sent[: -len(RED)])
        transport.send(sent[-len(RED) :] + get("/health/live") * 100)
        await until(lambda: engine.batches == [1])
        engine.go.set()
        await until(lambda: transport.is_ended)
    answers = read_answers(transport.received, ())
    assert [status for status, _ in answers] == [200] * (MAX_PIPELINED + 1)
    assert b"predictions" in answers[-1][1]
    assert transport.received.count(b"\r\nconnection: close\r\n") == 1


async def until(condition: Callable[[], bool]) -> None:
    """Waits until something is so."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)
