"""Spans of a real server, as a collector receives them over HTTP."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from service.grpc import inference_pb2 as pb
from tests.e2e import web
from tests.e2e.conftest import Server, StartServer

CAT = Path("tests/data/cat.jpg").read_bytes()
CALL = "inference.GRPCInferenceService/ModelInfer"
STAGES = {"receive", "queue", "decode", "infer", "respond"}
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER_ID = "b7ad6b7169203331"
# The caller's trace, which it samples, and another that it does not.
SAMPLED = {"traceparent": f"00-{TRACE_ID}-{CALLER_ID}-01"}
NOT_SAMPLED = {"traceparent": f"00-1{TRACE_ID[1:]}-{CALLER_ID}-00"}


class Collector:
    """Keeps what it receives at /v1/traces."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()

    def receive(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
            self.services.add(attributes["service.name"])
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def wait_for(self, *names: str) -> dict[str, Span]:
        """Waits until spans of these names have come; returns the last of each name."""
        deadline = time.monotonic() + 30
        while not set(names) <= {span.name for span in self.spans}:
            assert time.monotonic() < deadline, [span.name for span in self.spans]
            time.sleep(0.02)
        return {span.name: span for span in self.spans}


@contextmanager
def listening(collector: Collector) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.receive(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def collector() -> Collector:
    return Collector()


@pytest.fixture(scope="module")
def traced(server: StartServer, tiny_models: Path, collector: Collector) -> Iterator[Server]:
    """A server that exports its traces."""
    with listening(collector) as address, pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        with server(models=tiny_models, model="tiny", workers=1, grpc_port=0) as running:
            yield running


@pytest.fixture(autouse=True)
def forget(collector: Collector) -> None:
    collector.spans.clear()


def attributes(span: Span) -> dict[str, str | int]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def test_stages_lie_below_the_request_in_the_trace_of_the_caller(
    traced: Server, collector: Collector
) -> None:
    response = web.post(f"{traced.url}/predict", content=CAT, headers=SAMPLED)
    assert response.status_code == 200
    spans = collector.wait_for("POST /predict", "batch", *STAGES)
    assert collector.services == {"cifar10-serve"}
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE_ID}
    request = spans.pop("POST /predict")
    assert request.kind == Span.SPAN_KIND_SERVER
    assert request.parent_span_id.hex() == CALLER_ID
    assert attributes(request)["http.route"] == "/predict"
    assert attributes(request)["http.response.status_code"] == 200
    assert {span.parent_span_id for span in spans.values()} == {request.span_id}


def test_request_and_its_stages_name_the_model(traced: Server, collector: Collector) -> None:
    answer = web.post(f"{traced.url}/models/tiny/versions/1/predict", content=CAT)
    assert answer.status_code == 200
    request = "POST /models/{model_name}/versions/{model_version}/predict"
    spans = collector.wait_for(request, "batch", *STAGES)
    assert {attributes(spans[name])["model.name"] for name in spans} == {"tiny"}
    for name in (request, "batch", "infer"):
        assert attributes(spans[name])["model.version"] == "1"


def test_stages_lie_below_the_call_in_the_trace_of_the_caller(
    traced: Server, collector: Collector
) -> None:
    request = pb.ModelInferRequest(model_name="tiny")
    request.inputs.add(name="image", datatype="BYTES", shape=[1])
    request.inputs[0].contents.bytes_contents.append(CAT)
    with grpc.insecure_channel(traced.grpc_address) as channel:
        method: grpc.UnaryUnaryMultiCallable[pb.ModelInferRequest, pb.ModelInferResponse]
        method = channel.unary_unary(
            f"/{CALL}",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        method(request, metadata=tuple(SAMPLED.items()), timeout=30, wait_for_ready=True)
    spans = collector.wait_for(CALL, "batch", *STAGES)
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE_ID}
    call = spans.pop(CALL)
    assert call.kind == Span.SPAN_KIND_SERVER
    assert call.parent_span_id.hex() == CALLER_ID
    assert attributes(call)["rpc.response.status_code"] == "OK"
    assert {span.parent_span_id for span in spans.values()} == {call.span_id}


def test_stages_follow_each_other(traced: Server, collector: Collector) -> None:
    """A thread that is not run between the readings of two clocks is late; not every time."""
    orders: list[bool] = []
    while len(orders) < 10 and not any(orders):
        collector.spans.clear()
        web.post(f"{traced.url}/predict", content=CAT)
        orders.append(follow_each_other(collector.wait_for("POST /predict", *STAGES)))
    assert any(orders)


def follow_each_other(spans: dict[str, Span]) -> bool:
    stages = [spans[name] for name in ("receive", "queue", "decode", "infer", "respond")]
    leeway = 2_000_000  # in ns: starts are reckoned back from the ends, by another clock
    starts = [span.start_time_unix_nano for span in stages]
    ends = [span.end_time_unix_nano for span in stages]
    return (
        all(start <= end for start, end in zip(starts, ends, strict=True))
        and all(end <= start + leeway for end, start in zip(ends, starts[1:], strict=False))
        and spans["POST /predict"].start_time_unix_nano <= starts[0] + leeway
    )


def test_batch_and_the_inferences_in_it_are_linked(traced: Server, collector: Collector) -> None:
    files = [("files", ("x", CAT))] * 8
    web.post(f"{traced.url}/predict/batch", files=files)
    spans = collector.wait_for("POST /predict/batch", "respond", "batch", "infer")
    request = spans["POST /predict/batch"].span_id
    batches = [span for span in collector.spans if span.name == "batch"]
    inferences = [span for span in collector.spans if span.name == "infer"]
    assert len(inferences) == 8
    assert sum(int(attributes(batch)["batch.size"]) for batch in batches) == 8
    for batch in batches:
        assert attributes(batch)["model.name"] == "tiny"
        assert attributes(batch)["model.version"] == "1"
    assert [[link.span_id for link in batch.links] for batch in batches] == [[request]] * len(
        batches
    )
    assert {link.span_id for span in inferences for link in span.links} == {
        batch.span_id for batch in batches
    }


def test_trace_that_the_caller_does_not_sample_is_not_exported(
    traced: Server, collector: Collector
) -> None:
    web.post(f"{traced.url}/predict", content=CAT, headers=NOT_SAMPLED)
    web.get(f"{traced.url}/health")
    web.post(f"{traced.url}/predict", content=CAT, headers=SAMPLED)
    collector.wait_for("POST /predict", "batch", *STAGES)
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE_ID}
    assert not [span for span in collector.spans if "/health" in span.name]


def test_refused_picture_has_no_inference(traced: Server, collector: Collector) -> None:
    assert web.post(f"{traced.url}/predict", content=b"words").status_code == 415
    spans = collector.wait_for("POST /predict", "queue", "respond")
    assert set(spans) == {"POST /predict", "receive", "queue", "respond"}
    assert spans["POST /predict"].status.code != Status.STATUS_CODE_ERROR


def test_last_spans_are_sent_before_the_end(
    server: StartServer, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = Collector()
    with listening(collector) as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{address}/v1/traces")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "pictures")
        running = server(models=tiny_models, model="tiny")
        web.post(f"{running.url}/predict", content=CAT)
        assert running.stop() == 0
    assert "POST /predict" in {span.name for span in collector.spans}
    assert collector.services == {"pictures"}


def test_collector_that_never_answers_disturbs_nobody(
    server: StartServer, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        running = server(models=tiny_models, model="tiny")
        for _ in range(20):
            assert web.post(f"{running.url}/predict", content=CAT).status_code == 200
        start = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - start < 20
    assert "Traceback" not in running.log.read_text()


def modules_of_an_app(**environment: str) -> set[str]:
    script = """
import sys
from service.http.app import create_app
from service.inference.model_server import ModelServer
from service.settings import Settings
create_app(Settings(), ModelServer(Settings()))
print(*sys.modules)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(ended.stdout.split())


def test_nothing_of_the_exporter_is_loaded_without_a_collector() -> None:
    exporter = {"opentelemetry.sdk.trace", "google.protobuf", "requests"}
    assert not exporter & modules_of_an_app()
    assert exporter <= modules_of_an_app(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
