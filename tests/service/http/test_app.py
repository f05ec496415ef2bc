"""What holds for every route: ids, limits, problems, logs, authenticator."""

import logging
import threading
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service import RELEASE
from service.errors import ModelNotFoundError
from service.http.app import create_app
from service.inference.model_server import ModelServer
from service.inference.snapshot import Snapshot
from service.settings import Settings
from tests.service.conftest import FakeEngine, colour

MakeClient = Callable[..., TestClient]


def test_unknown_route_is_a_404_problem(client: TestClient) -> None:
    response = client.get("/nope")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert "/nope" in response.json()["detail"]


def test_wrong_method_is_a_405_problem(client: TestClient) -> None:
    response = client.get("/predict")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.json()["title"] == "Method Not Allowed"


def test_request_id_of_the_client_is_kept(client: TestClient) -> None:
    response = client.get("/health", headers={"X-Request-ID": "order-66.a_b"})
    assert response.headers["x-request-id"] == "order-66.a_b"


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, 'a"b', "<script>"])
def test_odd_request_id_is_replaced(client: TestClient, sent: str) -> None:
    received = client.get("/health", headers={"X-Request-ID": sent}).headers["x-request-id"]
    assert received != sent
    assert len(received) == 32


def test_request_is_logged_once_with_its_facts(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    with caplog.at_level(logging.INFO):
        response = client.post("/predict?top_k=1", content=colour("red"), headers=headers)
        client.get("/health/live")
    (record,) = [r for r in caplog.records if r.getMessage() == "request"]
    fields = record.__dict__["fields"]
    assert fields["duration_ms"] > 0
    assert (fields["method"], fields["path"], fields["status"]) == ("POST", "/predict", 200)
    assert fields["request_id"] == response.headers["x-request-id"]
    assert fields["received_bytes"] == len(colour("red"))
    assert fields["sent_bytes"] == len(response.content)
    assert (fields["model_version"], fields["trace_id"]) == (1, trace)


def test_long_path_and_odd_trace_do_not_reach_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        client.get("/" + "x" * 10_000, headers={"traceparent": "00-0-0-00"})
    (record,) = [r for r in caplog.records if r.getMessage() == "request"]
    fields = record.__dict__["fields"]
    assert len(fields["path"]) == 200
    assert "trace_id" not in fields


def test_mistake_is_logged_with_its_trace(
    client: TestClient, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.error = ZeroDivisionError("a secret")
    response = client.post("/predict", content=colour("red"))
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.exc_info
    assert record.__dict__["fields"]["request_id"] == response.headers["x-request-id"]


def test_other_origins_are_shut_out_by_default(client: TestClient) -> None:
    response = client.get("/health", headers={"Origin": "https://a.example"})
    assert "access-control-allow-origin" not in response.headers


def test_named_origin_is_let_in(make_client: MakeClient) -> None:
    client = make_client(cors_origins="https://a.example")
    for origin, allowed in [
        ("https://a.example", "https://a.example"),
        ("https://b.example", None),
    ]:
        response = client.get("/health", headers={"Origin": origin})
        assert response.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize("path", ["/", "/static/index.html", "/docs"])
def test_pages_name_no_outside_address(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert "//" not in response.text.replace("<!--", "").replace("http://www.w3.org", "")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert ("unsafe" in policy) == (path == "/docs")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


def test_docs_find_their_files(client: TestClient) -> None:
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"docs/files/{name}" in client.get("/docs").text
        assert client.get(f"/docs/files/{name}").status_code == 200


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/nope"])
def test_static_files_stay_in_their_folder(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


class SlowStart:
    """Fails to load a model when it is told to."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.go = threading.Event()

    def __call__(self, *_arguments: object) -> Snapshot:
        assert self.go.wait(10)
        raise self.error


def start(load: SlowStart) -> TestClient:
    return TestClient(create_app(Settings(), ModelServer(Settings(), load)))


def test_loading_is_alive_but_not_ready() -> None:
    load = SlowStart(ModelNotFoundError("none"))
    with start(load) as client:
        assert client.get("/health/live").json() == {"status": "ok"}
        for path in ("/health", "/health/ready"):
            response = client.get(path)
            assert response.status_code == 503
            assert response.json()["status"] == "loading"
            assert response.headers["retry-after"]
        response = client.post("/predict", content=colour("red"))
        assert response.status_code == 503
        assert response.json()["type"] == "urn:cifar10-serve:problem:not-ready"
        load.go.set()


def test_failed_load_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    load = SlowStart(ModelNotFoundError("there is none"))
    with start(load):
        load.go.set()
    assert [record.__dict__["fields"] for record in caplog.records] == [{"why": "there is none"}]


def test_draining_is_alive_but_not_ready(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    app.state.model_server.draining = True
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").json()["status"] == "draining"
    assert client.get("/health").status_code == 503
    assert client.post("/predict", content=colour("red")).status_code == 200


def test_process_that_cannot_compute_says_why_and_is_not_alive(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    app.state.model_server.fault = "A thread has died."
    for path in ("/health/live", "/health/ready", "/health"):
        response = client.get(path)
        assert response.status_code == 503
        assert response.json()["status"] == "failed"
        assert response.json()["reason"] == "A thread has died."
    response = client.post("/predict", content=colour("red"))
    assert response.status_code == 503
    assert "A thread" not in response.text


def test_warning_is_shown_and_changes_nothing_else(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    app.state.model_server.warning = "The last model was not loaded."
    response = client.get("/health")
    assert response.status_code == 200
    assert response.json()["status"] == "ok"
    assert response.json()["warning"] == "The last model was not loaded."


def test_health_tells_the_truth(client: TestClient) -> None:
    health = client.get("/health").json()
    assert health.pop("uptime_s") >= 0
    assert health == {
        "status": "ok",
        "model": "tiny",
        "version": "1",
        "variant": "model.onnx",
        "provider": "CPUExecutionProvider",
        "requested_provider": "CPUExecutionProvider",
        "sha256": "0" * 64,
        "models": [],
    }


def test_other_provider_than_asked_for_is_degraded(
    make_client: MakeClient, engine: FakeEngine
) -> None:
    engine.requested_provider = "CUDAExecutionProvider"
    engine.degraded_reason = "no driver"
    response = make_client().get("/health")
    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert response.json()["reason"] == "no driver"


def sample(client: TestClient, name: str) -> float:
    """Value of one line of /metrics."""
    lines = client.get("/metrics").text.splitlines()
    (value,) = [line.rpartition(" ")[2] for line in lines if line.startswith(name + " ")]
    return float(value)


def test_metrics_count_what_happened(client: TestClient) -> None:
    files = [("files", ("x", data)) for data in (colour("red"), colour("black"), b"hello")]
    client.post("/predict/batch", files=files)
    client.get("/nope")
    client.get("/static/page.js")
    for name, value in {
        'http_requests_total{route="/predict/batch",status="200"}': 1,
        'http_requests_total{route="unmatched",status="404"}': 1,
        'http_requests_total{route="/static",status="200"}': 1,
        'classifier_predictions_total{label="red",model="tiny"}': 2,
        'classifier_rejections_total{model="tiny",reason="unsupported-format"}': 1,
        'classifier_batch_size_sum{model="tiny"}': 3,
        'classifier_stage_seconds_count{model="tiny",stage="receive"}': 1,
        'classifier_stage_seconds_count{model="tiny",stage="decode"}': 2,
        'classifier_stage_seconds_count{model="tiny",stage="queue"}': 3,
        'classifier_stage_seconds_count{model="tiny",stage="respond"}': 1,
        'classifier_queue_depth{model="tiny"}': 0,
        "classifier_queue_limit": 256,
        'service_workers{status="ok"}': 1,
        f'service_build_info{{release="{RELEASE}"}}': 1,
    }.items():
        assert sample(client, name) == value, name
    assert sample(client, 'classifier_stage_seconds_sum{model="tiny",stage="infer"}') > 0
    assert 'classifier_model_info{model="tiny",provider="CPU' in client.get("/metrics").text


def test_metrics_of_two_apps_are_apart(make_client: MakeClient) -> None:
    first, second = make_client(), make_client()
    first.post("/predict", content=colour("red"))
    assert 'label="red"' in first.get("/metrics").text
    assert 'label="red"' not in second.get("/metrics").text
