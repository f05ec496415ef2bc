"""HEAD is answered wherever GET is."""

import logging

import pytest
from starlette.testclient import TestClient

VOLATILE = {"x-request-id", "date"}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/openapi.json",
        "/static/page.js",
        "/health",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/tiny",
        "/v2/models/tiny/versions/1/ready",
    ],
)
def test_head_is_get_without_a_body(client: TestClient, path: str) -> None:
    get, head = client.get(path), client.head(path)
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert set(head.headers) == set(get.headers)
    # Its numbers change from one to the next.
    if path not in ("/health", "/health/ready", "/metrics"):
        changed = {name for name in get.headers if head.headers[name] != get.headers[name]}
        assert changed <= VOLATILE


@pytest.mark.parametrize(("path", "status"), [("/predict", 405), ("/nope", 404)])
def test_head_is_refused_where_get_is(client: TestClient, path: str, status: int) -> None:
    assert client.get(path).status_code == status
    head = client.head(path)
    assert (head.status_code, head.content) == (status, b"")


def test_head_is_logged_and_counted_under_its_route(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        client.head("/v2/models/tiny")
    (record,) = [r for r in caplog.records if r.getMessage() == "request"]
    fields = record.__dict__["fields"]
    assert (fields["method"], fields["sent_bytes"]) == ("HEAD", 0)
    client.head("/static/page.js")
    metrics = client.get("/metrics").text
    for route in ("/v2/models/{model_name}", "/static"):
        assert f'http_requests_total{{route="{route}",status="200"}} 1.0' in metrics


def test_refusal_of_a_method_allows_head_beside_get(client: TestClient) -> None:
    assert client.post("/health").headers["allow"] == "GET, HEAD"
    assert client.get("/predict").headers["allow"] == "POST"
