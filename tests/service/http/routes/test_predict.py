"""POST /predict and /predict/batch around a fake engine."""

import asyncio
import base64
import gzip
import io
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient
from starlette.types import Message

from service.errors import EngineFailedError
from service.http.problems import MEDIA_TYPE
from service.http.schemas import BatchResponse, PredictResponse
from tests.service.conftest import FakeEngine, colour, encode, keep_busy, running

MakeClient = Callable[..., TestClient]


def form(*uploads: bytes, field: str = "files") -> list[tuple[str, tuple[str, bytes]]]:
    return [(field, (f"{i}.png", upload)) for i, upload in enumerate(uploads)]


def problem(response: httpx2.Response, status: int, slug: str) -> str:
    """Checks a problem document; returns its detail."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    document = response.json()
    assert set(document) == {"type", "title", "status", "detail", "request_id"}
    assert document["type"] == f"urn:cifar10-serve:problem:{slug}"
    assert document["status"] == status
    assert document["request_id"] == response.headers["x-request-id"]
    detail: str = document["detail"]
    return detail


def test_answer_has_the_shape_of_the_contract(client: TestClient) -> None:
    answer = client.post("/predict", content=colour("blue")).json()
    best = answer["predictions"][0]
    assert answer == {
        "model": "tiny",
        "version": "1",
        "predictions": answer["predictions"],
        "unfamiliar": False,
        "image": {"width": 16, "height": 12, "format": "PNG"},
    }
    assert best == {
        "label": "blue",
        "class_id": 2,
        "probability": pytest.approx(0.964663, abs=1e-6),
    }
    assert len(answer["predictions"]) == 3


def test_form_and_raw_body_give_the_same_answer(client: TestClient) -> None:
    raw = client.post("/predict", content=colour("red"))
    assert client.post("/predict", files=form(colour("red"), field="file")).json() == raw.json()


@pytest.mark.parametrize(
    "content_type", ["image/png", "text/plain", "application/x-www-form-urlencoded", "nonsense"]
)
def test_any_other_content_type_is_the_picture(client: TestClient, content_type: str) -> None:
    headers = {"content-type": content_type}
    assert client.post("/predict", content=colour("red"), headers=headers).status_code == 200


def test_top_k_bounds_the_predictions(client: TestClient) -> None:
    answer = client.post("/predict?top_k=2", content=colour("red")).json()
    assert len(answer["predictions"]) == 2


@pytest.mark.parametrize("top_k", ["0", "-1", "4", "many"])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_top_k_out_of_range_is_422(client: TestClient, path: str, top_k: str) -> None:
    response = client.post(f"{path}?top_k={top_k}", files=form(colour("red")))
    assert "top_k" in problem(response, 422, "invalid-parameter")


def test_include_input_returns_what_the_model_saw(client: TestClient) -> None:
    url = client.post("/predict?include_input=true", content=colour("red")).json()["input"]
    assert url.startswith("data:image/png;base64,")
    image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert image.size == (8, 8)
    assert np.asarray(image)[0, 0].tolist() == [255, 0, 0]


def test_answers_are_what_the_documentation_says(client: TestClient) -> None:
    one = client.post("/predict", content=colour("red"))
    assert PredictResponse.model_validate_json(one.content, strict=True).input is None
    many = client.post("/predict/batch", files=form(colour("red"), b""))
    assert len(BatchResponse.model_validate_json(many.content, strict=True).results) == 2


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_compressed_body_is_415_and_says_so(client: TestClient, path: str, encoding: str) -> None:
    headers = {"Content-Encoding": encoding}
    upload = form(gzip.compress(colour("red")), field="file" if path == "/predict" else "files")
    detail = problem(client.post(path, files=upload, headers=headers), 415, "unsupported-encoding")
    assert f"compressed ({encoding})" in detail
    if path == "/predict":
        raw = client.post(path, content=gzip.compress(colour("red")), headers=headers)
        problem(raw, 415, "unsupported-encoding")


def test_identity_is_no_compression(client: TestClient) -> None:
    for encoding in ("Identity", ""):
        headers = {"Content-Encoding": encoding}
        assert client.post("/predict", content=colour("red"), headers=headers).status_code == 200


def test_first_of_repeated_headers_counts(client: TestClient) -> None:
    repeated = [("X-Request-ID", "one"), ("X-Request-ID", "two"), ("X-Request-Timeout-Ms", "9000")]
    headers = [*repeated, ("X-Request-Timeout-Ms", "never")]
    response = client.post("/predict", content=colour("red"), headers=headers)
    assert (response.status_code, response.headers["x-request-id"]) == (200, "one")


@pytest.mark.parametrize(
    "head",
    [
        'Content-Disposition: form-data; name="file"\r\nContent-Type: image/png',
        "Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''a.png",
    ],
    ids=["image type alone", "filename* alone"],
)
def test_part_without_a_plain_file_name_is_taken_as_the_file(client: TestClient, head: str) -> None:
    body = f"a preamble\r\n--b \t\r\n{head}\r\n\r\n".encode() + colour("red") + b"\r\n--b--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert client.post("/predict", content=body, headers=headers).status_code == 200


@pytest.mark.parametrize("options", [{"content": b""}, {"files": form(b"", field="file")}])
def test_empty_upload_is_400(client: TestClient, options: dict[str, Any]) -> None:
    problem(client.post("/predict", **options), 400, "empty-upload")


@pytest.mark.parametrize(("path", "field"), [("/predict", "file"), ("/predict/batch", "files")])
def test_missing_field_is_400_and_names_the_field(
    client: TestClient, path: str, field: str
) -> None:
    response = client.post(path, files=form(colour("red"), field="picture"))
    assert f"'{field}'" in problem(response, 400, "missing-field")


def test_field_without_a_file_is_400(client: TestClient) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--b--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    problem(client.post("/predict", content=body, headers=headers), 400, "missing-field")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--b\r\n"),
        ("multipart/form-data; boundary=b", b"no form at all"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="file"'),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--\r\n",
        ),
    ],
)
def test_malformed_form_is_400(client: TestClient, content_type: str, body: bytes) -> None:
    response = client.post("/predict", content=body, headers={"content-type": content_type})
    problem(response, 400, "malformed-form")


def test_too_many_text_fields_is_400(make_client: MakeClient) -> None:
    client = make_client(max_form_fields=2)
    for count, status in [(2, 200), (3, 400)]:
        fields = {f"field-{i}": "x" for i in range(count)}
        response = client.post("/predict", data=fields, files=form(colour("red"), field="file"))
        assert response.status_code == status


def test_body_over_the_limit_is_413(make_client: MakeClient) -> None:
    client = make_client(max_body_bytes=1000)
    response = client.post("/predict", content=b"x" * 1001)
    assert "1,000 bytes" in problem(response, 413, "body-too-large")
    assert client.post("/predict", content=b"x" * 1000).status_code == 415


def test_streamed_body_over_the_limit_is_413(make_client: MakeClient) -> None:
    def chunks() -> Iterator[bytes]:
        yield from [b"x" * 400] * 3

    response = make_client(max_body_bytes=1000).post("/predict", content=chunks())
    problem(response, 413, "body-too-large")


def test_too_many_pixels_is_413(make_client: MakeClient) -> None:
    response = make_client(max_pixels=100).post("/predict", content=colour("red"))
    assert "16 x 12" in problem(response, 413, "too-many-pixels")


def test_two_files_for_one_picture_is_413(client: TestClient) -> None:
    response = client.post("/predict", files=form(colour("red"), colour("red"), field="file"))
    problem(response, 413, "too-many-files")


def test_text_is_415(client: TestClient) -> None:
    detail = problem(client.post("/predict", content=b"hello"), 415, "unsupported-format")
    assert "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC" in detail


def test_truncated_jpeg_is_422(client: TestClient) -> None:
    data = encode(Image.effect_noise((64, 64), 50), "JPEG")
    response = client.post("/predict", content=data[: len(data) // 2])
    assert "JPEG" in problem(response, 422, "undecodable-image")


@pytest.mark.anyio
async def test_full_queue_is_503_with_retry_after(
    make_app: Callable[..., FastAPI], engine: FakeEngine
) -> None:
    app = make_app(max_queue=2)
    async with (
        running(app) as model_server,
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client,
    ):
        await keep_busy(model_server, engine)
        waiting = model_server.submit(model_server.find(), [colour("red")])
        # Two pictures need two places at once.
        response = await client.post("/predict/batch", files=form(*[colour("red")] * 2))
        engine.go.set()
        await waiting[0]
    problem(response, 503, "queue-full")
    assert int(response.headers["retry-after"]) > 0


def test_batch_that_can_never_wait_is_413(make_client: MakeClient) -> None:
    response = make_client(max_queue=2).post("/predict/batch", files=form(*[colour("red")] * 3))
    assert "(2)" in problem(response, 413, "too-many-files")


@pytest.mark.parametrize("files", [1, 3])
def test_batch_of_which_no_picture_can_be_computed_is_503(
    client: TestClient, engine: FakeEngine, files: int
) -> None:
    engine.error = EngineFailedError("out of memory")
    response = client.post("/predict/batch", files=form(*[colour("red")] * files))
    problem(response, 503, "not-ready")
    assert int(response.headers["retry-after"]) > 0


def test_batch_of_which_no_picture_is_computed_in_time_is_504(
    make_client: MakeClient, engine: FakeEngine
) -> None:
    client = make_client(deadline_ms=20)
    engine.go.clear()
    response = client.post("/predict/batch", files=form(colour("red"), colour("blue")))
    problem(response, 504, "deadline-exceeded")
    engine.go.set()


def test_batch_of_which_a_picture_has_an_answer_is_200(
    client: TestClient, engine: FakeEngine
) -> None:
    engine.error = EngineFailedError("out of memory")
    response = client.post("/predict/batch", files=form(b"hello", colour("red")))
    assert response.status_code == 200
    assert [result["error"]["status"] for result in response.json()["results"]] == [415, 503]


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/predict", "there are top_k, coverage, include_input"),
        ("/predict/batch", "there are top_k, coverage."),
    ],
)
def test_unknown_parameter_is_422_and_the_known_ones_are_named(
    client: TestClient, path: str, known: str
) -> None:
    response = client.post(f"{path}?topk=3", files=form(colour("red")))
    detail = problem(response, 422, "invalid-parameter")
    assert detail.startswith("topk: ")
    assert known in detail
    response = client.post(f"{path}?{'x' * 10_000}=1", files=form(colour("red")))
    assert len(problem(response, 422, "invalid-parameter")) < 500


def test_missed_deadline_is_504(make_client: MakeClient, engine: FakeEngine) -> None:
    client = make_client(deadline_ms=20)
    engine.go.clear()
    problem(client.post("/predict", content=colour("red")), 504, "deadline-exceeded")
    engine.go.set()


def test_client_who_waits_less_long_has_its_own_deadline(
    client: TestClient, engine: FakeEngine
) -> None:
    engine.go.clear()
    response = client.post(
        "/predict", content=colour("red"), headers={"X-Request-Timeout-Ms": "20"}
    )
    problem(response, 504, "deadline-exceeded")
    engine.go.set()


def test_client_cannot_wait_longer_than_the_service_allows(
    make_client: MakeClient, engine: FakeEngine
) -> None:
    client = make_client(deadline_ms=20)
    engine.go.clear()
    response = client.post(
        "/predict", content=colour("red"), headers={"X-Request-Timeout-Ms": "60000"}
    )
    problem(response, 504, "deadline-exceeded")
    engine.go.set()


def test_deadline_of_the_client_counts_from_the_start_of_the_request(
    client: TestClient, engine: FakeEngine
) -> None:
    def slowly() -> Iterator[bytes]:
        yield colour("red")
        time.sleep(0.1)

    response = client.post("/predict", content=slowly(), headers={"X-Request-Timeout-Ms": "50"})
    problem(response, 504, "deadline-exceeded")
    assert engine.batches == []


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "1.5", "9" * 400])
def test_odd_timeout_is_422(client: TestClient, timeout: str) -> None:
    headers = {"X-Request-Timeout-Ms": timeout}
    response = client.post("/predict", content=colour("red"), headers=headers)
    assert "X-Request-Timeout-Ms" in problem(response, 422, "invalid-parameter")


def test_mistake_of_ours_is_500_without_a_trace(client: TestClient, engine: FakeEngine) -> None:
    engine.error = ZeroDivisionError("a secret")
    response = client.post("/predict", content=colour("red"))
    assert response.status_code == 500
    assert response.headers["content-type"] == MEDIA_TYPE
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert "secret" not in response.text
    assert "Traceback" not in response.text


def test_batch_keeps_the_order_and_answers_each(client: TestClient) -> None:
    files = form(colour("red"), b"hello", colour("blue"), b"")
    response = client.post("/predict/batch?top_k=1", files=files)
    assert response.status_code == 200
    answer = response.json()
    first, text, last, empty = answer["results"]
    assert (answer["model"], answer["version"]) == ("tiny", "1")
    assert set(first) == {"predictions", "unfamiliar", "image"}
    assert [p["label"] for p in first["predictions"] + last["predictions"]] == ["red", "blue"]
    assert (text["error"]["status"], empty["error"]["status"]) == (415, 400)
    assert text["error"]["request_id"] == response.headers["x-request-id"]


def test_batch_goes_through_the_engine_together(
    make_client: MakeClient, engine: FakeEngine
) -> None:
    make_client(max_batch=8).post("/predict/batch", files=form(*[colour("red")] * 8))
    assert sum(engine.batches) == 8
    assert len(engine.batches) <= 3


def test_too_many_files_is_413(make_client: MakeClient) -> None:
    client = make_client(max_files=2)
    for count in (3, 4, 20):
        response = client.post("/predict/batch", files=form(*[b"x"] * count))
        assert "2" in problem(response, 413, "too-many-files")
    assert client.post("/predict/batch", files=form(b"x", b"x")).status_code == 200


def test_batch_without_a_form_is_400(client: TestClient) -> None:
    response = client.post("/predict/batch", content=colour("red"))
    assert "'files'" in problem(response, 400, "missing-field")


@pytest.mark.anyio
async def test_picture_of_a_client_who_has_left_is_not_computed(
    make_app: Callable[..., FastAPI], engine: FakeEngine
) -> None:
    app = make_app()
    async with running(app) as model_server:
        busy = await keep_busy(model_server, engine)
        status = await asyncio.wait_for(post_and_leave(app, colour("blue")), 5)
        engine.go.set()
        await busy
    assert status == 499
    assert engine.batches == [1]


@pytest.mark.anyio
async def test_client_who_leaves_while_sending_is_no_mistake_of_ours(
    make_app: Callable[..., FastAPI], caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    async with running(app):
        status = await asyncio.wait_for(post_and_leave(app, b"half", whole=False), 5)
    assert status == 499
    assert all(record.levelno < logging.ERROR for record in caplog.records)


async def post_and_leave(app: FastAPI, body: bytes, *, whole: bool = True) -> int:
    """Sends a request, or a part of it, and hangs up before the answer; returns its status."""
    incoming: Iterator[Message] = iter(
        [
            {"type": "http.request", "body": body, "more_body": not whole},
            {"type": "http.disconnect"},
        ]
    )
    outgoing: list[Message] = []

    async def receive() -> Message:
        return next(incoming)

    async def send(message: Message) -> None:
        outgoing.append(message)

    state: dict[str, Any] = {}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "raw_path": b"/predict",
        "query_string": b"",
        "headers": [],
        "state": state,
    }
    answering = asyncio.create_task(app(scope, receive, send))
    if whole:
        while "context" not in state or state["context"].on_disconnect is None:
            await asyncio.sleep(0.01)
        state["context"].disconnected = True  # as `protocol` does
        state["context"].on_disconnect()
    await answering
    status: int = outgoing[0]["status"]
    return status


def test_large_upload_stays_off_the_disk(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("opened a temporary file")

    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    data = encode(Image.effect_noise((1500, 1500), 100))
    assert len(data) > 2_000_000
    assert client.post("/predict", files=form(data, field="file")).status_code == 200
