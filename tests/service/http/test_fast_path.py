"""The short way gives the answers of the long one, which a parameter leads to."""

import logging
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.http.schemas import BatchResponse, PredictResponse
from tests.service.conftest import FakeEngine, colour, encode

MakeClient = Callable[..., TestClient]
LONG_WAY = {"X-Request-Timeout-Ms": "10000"}


def files(*uploads: bytes, field: str = "files") -> dict[str, Any]:
    return {"files": [(field, (f"{i}.png", upload)) for i, upload in enumerate(uploads)]}


def facts(response: httpx2.Response) -> tuple[object, ...]:
    document = response.json()
    document.pop("request_id", None)
    for result in document.get("results", ()):
        result.get("error", {}).pop("request_id", None)
    headers = {
        name: value
        for name, value in response.headers.items()
        if name not in ("x-request-id", "content-length")
    }
    return response.status_code, headers, document


REQUESTS = {
    "one": ("/predict", {"content": colour("red")}),
    "one in a form": ("/predict", files(colour("red"), field="file")),
    "empty": ("/predict", {"content": b""}),
    "text": ("/predict", {"content": b"hello"}),
    "broken": ("/predict", {"content": encode(Image.effect_noise((64, 64), 50), "JPEG")[:500]}),
    "two": ("/predict", files(colour("red"), colour("red"), field="file")),
    "large": ("/predict", {"content": b"x" * 30_001}),
    "many": ("/predict/batch", files(colour("red"), b"hello", colour("blue"), b"")),
    "none": ("/predict/batch", files(colour("red"), field="picture")),
    "no form": ("/predict/batch", {"content": colour("red")}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_both_ways_give_the_same_answer(
    name: str, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(max_body_bytes=30_000)
    path, options = REQUESTS[name]
    with caplog.at_level(logging.INFO):
        short = client.post(path, **options)
        long = client.post(path, headers=LONG_WAY, **options)
        client.get("/health/live")  # by then the others are logged
    assert facts(short) == facts(long)
    lines = [r.__dict__["fields"] for r in caplog.records if r.getMessage() == "request"]
    changing = {"request_id", "duration_ms"}
    first, second = ({k: v for k, v in line.items() if k not in changing} for line in lines)
    assert first == second
    counted = f'http_requests_total{{route="{path}",status="{short.status_code}"}} 2.0'
    assert counted in client.get("/metrics").text


@pytest.mark.parametrize("headers", [{}, LONG_WAY])
def test_answers_are_what_the_documentation_says(
    client: TestClient, headers: dict[str, str]
) -> None:
    one = client.post("/predict", content=colour("red"), headers=headers)
    assert PredictResponse.model_validate_json(one.content, strict=True).input is None
    many = client.post("/predict/batch", headers=headers, **files(colour("red"), b""))
    results = BatchResponse.model_validate_json(many.content, strict=True).results
    assert len(results) == 2


@pytest.mark.parametrize("headers", [{}, LONG_WAY])
@pytest.mark.parametrize(
    ("key", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer other"}, 401),
        ({"Authorization": "bearer secret"}, 200),
        ({"X-API-Key": "secret"}, 200),
        ({"Authorization": "Basic secret"}, 401),
    ],
)
def test_both_ways_have_the_same_door(
    make_client: MakeClient, key: dict[str, str], status: int, headers: dict[str, str]
) -> None:
    client = make_client(api_keys="secret")
    response = client.post("/predict", content=colour("red"), headers={**headers, **key})
    assert response.status_code == status
    assert ("www-authenticate" in response.headers) == (status == 401)


def test_rate_limit_counts_both_ways(make_client: MakeClient) -> None:
    client = make_client(api_keys="secret", rate_limit="2/hour")
    key = {"X-API-Key": "secret"}
    for headers, status in [(key, 200), (key | LONG_WAY, 200), (key, 429), (key | LONG_WAY, 429)]:
        response = client.post("/predict", content=colour("red"), headers=headers)
        assert response.status_code == status


@pytest.mark.parametrize("headers", [{}, LONG_WAY])
def test_mistake_is_500_either_way(
    client: TestClient, engine: FakeEngine, headers: dict[str, str]
) -> None:
    engine.error = ZeroDivisionError("a secret")
    response = client.post("/predict", content=colour("red"), headers=headers)
    assert response.status_code == 500
    assert "secret" not in response.text


def test_short_way_is_taken(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("looked for the route")

    monkeypatch.setattr("starlette.routing.Router.__call__", refuse)
    assert client.post("/predict", content=colour("red")).status_code == 200
    assert client.post("/predict/batch", **files(colour("red"))).status_code == 200
    assert client.post("/predict", content=colour("red"), headers=LONG_WAY).status_code == 500
