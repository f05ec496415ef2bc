"""While the queue is full, requests are refused before anything is done for them."""

import asyncio
import logging
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient

from service.inference.model_server import ModelServer
from tests.service.conftest import FakeEngine, colour, keep_busy, running
from tests.service.http.conftest import Serve
from tests.service.http.messages import get, read_answers, sized

pytestmark = pytest.mark.anyio
MakeApp = Callable[..., FastAPI]
IMAGE = {"name": "image", "datatype": "UINT8", "shape": [1, 8, 8, 3], "data": [0] * 192}
INFER = {"inputs": [IMAGE]}


async def fill(model_server: ModelServer, engine: FakeEngine) -> None:
    """Holds the engine, and lets as many pictures wait as may."""
    await keep_busy(model_server, engine)
    model_server.submit(model_server.find(), [colour("red")] * model_server.settings.max_queue)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/predict", "/predict"),
        ("/predict/batch?top_k=nonsense", "/predict/batch"),
        ("/v2/models/tiny/infer", "/v2/models/{model_name}/infer"),
        (
            "/v2/models/tiny/versions/1/infer",
            "/v2/models/{model_name}/versions/{model_version}/infer",
        ),
    ],
)
async def test_full_queue_refuses_before_the_body_is_read(
    make_app: MakeApp,
    engine: FakeEngine,
    caplog: pytest.LogCaptureFixture,
    path: str,
    route: str,
) -> None:
    async def unread() -> object:
        raise AssertionError("read the body")

    app = make_app(max_queue=2)
    sent: list[dict[str, object]] = []

    async def keep(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [],
        "state": {},
    }
    async with running(app) as model_server:
        await fill(model_server, engine)
        with caplog.at_level(logging.INFO):
            await app(scope, unread, keep)  # type: ignore[arg-type]
        engine.go.set()
        text = model_server.metrics.render().decode()
    assert sent[0]["status"] == 503
    headers = dict(sent[0]["headers"])  # type: ignore[call-overload]
    assert headers[b"retry-after"] == b"1"
    assert headers[b"x-request-id"]
    assert b"Too many pictures" in bytes(sent[1]["body"])  # type: ignore[call-overload]
    assert f'http_requests_total{{route="{route}",status="503"}} 1.0' in text
    assert 'classifier_rejections_total{model="tiny",reason="queue-full"} 1.0' in text
    (record,) = [record for record in caplog.records if record.getMessage() == "request"]
    fields = record.__dict__["fields"]
    assert (fields["model"], fields["model_version"]) == ("tiny", 1)


async def test_refused_crowd_comes_again_one_after_another(
    make_app: MakeApp, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(max_queue=2)
    async with (
        running(app) as model_server,
        AsyncClient(transport=ASGITransport(app), base_url="http://x") as client,
    ):
        await keep_busy(model_server, engine)
        monkeypatch.setattr(model_server._batcher, "seconds_per_item", 0.5)
        model_server.submit(model_server.find(), [colour("red")])
        # What the queue itself refuses, as it has no room for so many, stands in the same row.
        files = [("files", colour("red"))] * 2
        answers = [await client.post("/predict/batch", files=files)]
        model_server.submit(model_server.find(), [colour("red")])
        answers += [await client.post("/predict", content=colour("red")) for _ in range(3)]
        answers.append(await client.post("/v2/models/tiny/infer", json=INFER))
        engine.go.set()
    assert [answer.status_code for answer in answers] == [503] * 5
    assert [int(answer.headers["retry-after"]) for answer in answers] == [1, 2, 3, 4, 5]


async def test_probes_and_the_rest_are_answered_while_the_queue_is_full(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    app = make_app(max_queue=2)
    async with (
        running(app) as model_server,
        AsyncClient(transport=ASGITransport(app), base_url="http://x") as client,
    ):
        await fill(model_server, engine)
        for path in ("/health/live", "/health/ready", "/metrics", "/"):
            assert (await client.get(path)).status_code == 200
        engine.go.set()
        while model_server.is_full():
            await asyncio.sleep(0.01)
        assert (await client.post("/predict", content=colour("red"))).status_code == 200


async def test_refused_upload_leaves_the_connection_to_the_next_request(
    serve: Serve, engine: FakeEngine
) -> None:
    picture = colour("red")
    async with serve(max_queue=1) as connect:
        engine.go.clear()
        connect().send(sized(picture))
        while not engine.batches:
            await asyncio.sleep(0.01)
        connect().send(sized(picture))
        for _ in range(20):  # the event loop alone takes it to the queue
            await asyncio.sleep(0)
        client, upload = connect(), sized(picture)
        client.send(upload[:-1])
        while not client.received:
            await asyncio.sleep(0.01)
        client.send(upload[-1:] + get("/health/live"))
        while client.received.count(b"HTTP/1.1 ") < 2:
            await asyncio.sleep(0.01)
        engine.go.set()
    assert [status for status, _ in read_answers(client.received, ())] == [503, 200]


async def test_refusal_is_readable_for_a_page_of_another_origin(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    app = make_app(max_queue=2, cors_origins="https://a.example")
    async with (
        running(app) as model_server,
        AsyncClient(transport=ASGITransport(app), base_url="http://x") as client,
    ):
        await fill(model_server, engine)
        origin = {"Origin": "https://a.example"}
        answer = await client.post("/predict", content=colour("red"), headers=origin)
        engine.go.set()
    assert answer.status_code == 503
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
