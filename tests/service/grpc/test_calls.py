"""What every call goes through: keys, limits, errors, the log, the metrics and traces."""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc import StatusCode
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from opentelemetry.trace import StatusCode as SpanStatus
from prometheus_client.parser import text_string_to_metric_families

from service import errors
from service.errors import ServiceError
from service.grpc import calls
from service.grpc import inference_pb2 as pb
from service.grpc.status import TABLE
from service.inference.model_server import ModelServer
from service.observability import tracing
from service.observability.tracing import Tracing
from tests.service.conftest import FakeEngine, keep_busy
from tests.service.grpc.conftest import Serve, infer, labels, pixels, until

RED = pixels("red")
KEY = [("authorization", "Bearer secret")]


def sample(model_server: ModelServer, name: str, **wanted: str) -> float:
    text = model_server.metrics.render().decode()
    for family in text_string_to_metric_families(text):
        for found in family.samples:
            if found.name == name and found.labels == wanted:
                return float(found.value)
    return 0


async def never() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def only(*messages: bytes) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


@pytest.mark.anyio
async def test_methods_need_a_key_and_probes_do_not(serve: Serve) -> None:
    async with serve(api_keys="secret") as served:
        assert (await served.ask(pb.ServerLiveRequest())).live
        assert (await served.ask(pb.ServerReadyRequest())).ready
        for request in (
            infer(RED),
            pb.ServerMetadataRequest(),
            pb.ModelReadyRequest(name="tiny"),
            pb.ModelMetadataRequest(name="tiny"),
            pb.ModelConfigRequest(name="tiny"),
            pb.ModelStatisticsRequest(),
        ):
            for metadata in ([], [("x-api-key", "wrong")]):
                error = await served.refusal(request, metadata)
                assert error.code() is StatusCode.UNAUTHENTICATED
            await served.ask(request, KEY)
            await served.ask(request, [("x-api-key", "secret")])


@pytest.mark.anyio
async def test_administration_needs_its_own_key(serve: Serve) -> None:
    request = pb.RepositoryIndexRequest(ready=True)
    async with serve() as served:
        assert (await served.refusal(request)).code() is StatusCode.PERMISSION_DENIED
    async with serve(api_keys="secret", admin_keys="root") as served:
        assert (await served.refusal(request)).code() is StatusCode.UNAUTHENTICATED
        assert (await served.refusal(request, KEY)).code() is StatusCode.PERMISSION_DENIED
        assert len((await served.ask(request, [("x-api-key", "root")])).models) == 1


@pytest.mark.anyio
async def test_key_that_asks_too_often_is_told_when_to_return(serve: Serve) -> None:
    async with serve(api_keys="secret", rate_limit="2/hour") as served:
        for _ in range(2):
            await served.ask(infer(RED), KEY)
        error = await served.refusal(infer(RED), KEY)
        assert error.code() is StatusCode.RESOURCE_EXHAUSTED
        assert int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) > 1_000_000


@pytest.mark.anyio
async def test_message_is_not_read_without_a_key(serve: Serve) -> None:
    async with serve(api_keys="secret") as served:
        error = await served.send("ModelInfer", never())
        assert error.code() is StatusCode.UNAUTHENTICATED


@pytest.mark.anyio
async def test_message_that_does_not_arrive_is_not_waited_for(serve: Serve) -> None:
    async with serve(body_timeout_ms=50) as served:
        error = await served.send("ModelInfer", never())
        assert error.code() is StatusCode.DEADLINE_EXCEEDED
        assert "0.05 s to arrive" in (error.details() or "")


@pytest.mark.anyio
async def test_call_without_a_message_is_an_invalid_argument(serve: Serve) -> None:
    async with serve() as served:
        error = await served.send("ModelInfer", only())
        assert error.code() is StatusCode.INVALID_ARGUMENT


@pytest.mark.anyio
async def test_message_over_the_limit_is_refused(serve: Serve) -> None:
    request = infer(RED, raw=False)
    request.raw_input_contents.append(bytes(3000))
    async with serve(max_body_bytes=2000) as served:
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            error = await served.refusal(request, compression=compression)
            assert error.code() is StatusCode.RESOURCE_EXHAUSTED
        assert labels(await served.ask(infer(RED))) == ["red"]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_message_is_answered(serve: Serve, kind: grpc.Compression) -> None:
    async with serve() as served:
        assert labels(await served.ask(infer(RED), compression=kind)) == ["red"]


@pytest.mark.anyio
async def test_bytes_that_are_no_message_are_an_invalid_argument(serve: Serve) -> None:
    async with serve() as served:
        error = await served.send("ModelInfer", only(b"\xff\xff"))
        assert error.code() is StatusCode.INVALID_ARGUMENT
        assert "inference.ModelInferRequest" in (error.details() or "")


@pytest.mark.anyio
async def test_bytes_that_wait_are_limited(serve: Serve, engine: FakeEngine) -> None:
    request = infer(RED, raw=False, shape=[4, 8, 8, 3])
    request.raw_input_contents.append(pixels("red", "red", "red", "red").tobytes())
    async with serve(max_body_bytes=1000, max_pending_bytes=1000, workers=1) as served:
        busy = await keep_busy(served.model_server, engine)
        first = served.start(request)
        await until(lambda: served.model_server.queue_depth == 4)
        error = await served.refusal(request)
        assert error.code() is StatusCode.UNAVAILABLE
        assert "Too many bytes" in (error.details() or "")
        engine.go.set()
        await busy
        await first
        await served.ask(request)


@pytest.mark.anyio
async def test_bytes_that_wait_are_those_of_all_protocols(serve: Serve) -> None:
    async with serve(max_body_bytes=1000, max_pending_bytes=1000, workers=1) as served:
        served.pending.count = 900  # of HTTP
        error = await served.refusal(infer(RED))
        assert error.code() is StatusCode.UNAVAILABLE
        assert "Too many bytes" in (error.details() or "")
        assert served.pending.count == 900
        served.pending.count = 0
        await served.ask(infer(RED))
        assert served.pending.count == 0


@pytest.mark.anyio
async def test_full_queue_refuses_before_key_and_message_are_read(
    serve: Serve, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serve(max_queue=1, api_keys="secret") as served:
        busy = await keep_busy(served.model_server, engine)
        waiting = served.start(infer(RED), KEY)
        await until(lambda: served.model_server.queue_depth == 1)
        error = await served.send("ModelInfer", never())
        assert error.code() is StatusCode.UNAVAILABLE
        assert "Too many pictures" in (error.details() or "")
        assert int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) >= 1000
        assert (await served.ask(pb.ModelReadyRequest(name="tiny"), KEY)).ready
        rejected = {"model": "tiny", "reason": "queue-full"}
        assert sample(served.model_server, "classifier_rejections_total", **rejected) == 1
        engine.go.set()
        await busy
        await waiting
    first = next(record for record in caplog.records if record.getMessage() == "request")
    fields = first.__dict__["fields"]
    assert (fields["grpc_status"], fields["model"], fields["received_bytes"]) == (
        "UNAVAILABLE",
        "tiny",
        0,
    )


@pytest.mark.anyio
@pytest.mark.parametrize("version", ["", "1"])
async def test_full_queue_of_one_model_refuses_its_messages_before_they_are_parsed(
    serve: Serve, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    parsed: list[str] = []

    def parse(kind: type[pb.ModelInferRequest], data: bytes, _tensors: int) -> pb.ModelInferRequest:
        message = kind.FromString(data)
        parsed.append(message.model_name)
        return message

    async with serve("quick", max_queue=1) as served:
        busy = await keep_busy(served.model_server, engine)
        waiting = served.start(infer(RED))
        await until(lambda: served.model_server.queue_depth == 1)
        monkeypatch.setattr(calls, "parse", parse)
        request = infer(RED)
        request.model_version = version
        assert (await served.refusal(request)).code() is StatusCode.UNAVAILABLE
        # What else is wrong is told as ever, and the other model has a queue of its own.
        request.model_version = "7"
        assert (await served.refusal(request)).code() is StatusCode.NOT_FOUND
        request = infer(RED)
        request.model_name = "quick"
        call = served.start(request)
        await until(lambda: served.model_server.queue_depth == 2)
        assert parsed == ["tiny", "quick"]
        engine.go.set()
        await busy
        await waiting
        assert labels(await call) == ["red"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "method", ["ModelStreamInfer", "SystemSharedMemoryStatus", "TraceSetting", "LogSettings"]
)
async def test_method_that_is_not_offered_says_so(serve: Serve, method: str) -> None:
    async with serve() as served:
        error = await served.send(method, only(b""))
        assert error.code() is StatusCode.UNIMPLEMENTED
        assert "not offered" in (error.details() or "")


@pytest.mark.anyio
async def test_bug_is_internal_without_a_trace(
    serve: Serve, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.error = ZeroDivisionError("a secret")
    async with serve() as served:
        error = await served.refusal(infer(RED), [("x-request-id", "mine")])
    assert error.code() is StatusCode.INTERNAL
    assert "secret" not in (error.details() or "")
    assert dict(error.trailing_metadata())["x-request-id"] == "mine"
    (logged,) = [record for record in caplog.records if record.exc_info]
    assert logged.__dict__["fields"] == {"request_id": "mine"}


@pytest.mark.anyio
async def test_log_tells_apart_which_key_has_called(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serve(api_keys="secret", admin_keys="root", rate_limit="1/hour") as served:
        await served.ask(infer(RED), KEY)
        await served.refusal(infer(RED), KEY)
        await served.refusal(infer(RED))
        await served.ask(pb.RepositoryIndexRequest(ready=True), [("x-api-key", "root")])
    lines = [it.__dict__["fields"] for it in caplog.records if it.getMessage() == "request"]
    secret, root = (hashlib.sha256(key).hexdigest()[:8] for key in (b"secret", b"root"))
    assert [line.get("key") for line in lines] == [secret, secret, None, root]


@pytest.mark.anyio
async def test_every_call_is_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    trace = "0af7651916cd43dd8448eb211c80319c"
    metadata = [("x-request-id", "mine"), ("traceparent", f"00-{trace}-b7ad6b7169203331-01")]
    async with serve() as served:
        call = served.start(infer(RED), metadata)
        answer = await call
        assert dict(await call.trailing_metadata())["x-request-id"] == "mine"
        await served.refusal(pb.ModelReadyRequest(name="huge"))
        await served.ask(pb.ServerReadyRequest())
    lines = [record for record in caplog.records if record.getMessage() == "request"]
    first, second, probe = (record.__dict__["fields"] for record in lines)
    assert first.pop("duration_ms") > 0
    assert first == {
        "grpc_status": "OK",
        "path": "/inference.GRPCInferenceService/ModelInfer",
        "received_bytes": infer(RED).ByteSize(),
        "sent_bytes": answer.ByteSize(),
        "request_id": "mine",
        "client": "127.0.0.1",
        "model": "tiny",
        "model_version": 1,
        "trace_id": trace,
    }
    assert second["grpc_status"] == "NOT_FOUND"
    assert [record.levelno for record in lines] == [logging.INFO, logging.INFO, logging.DEBUG]
    assert probe["grpc_status"] == "OK"


@pytest.mark.anyio
async def test_every_call_is_counted(serve: Serve, engine: FakeEngine) -> None:
    async with serve() as served:
        await served.ask(infer(pixels("red", "blue")))
        await served.refusal(infer(RED, datatype="FP32"))
        busy = await keep_busy(served.model_server, engine)
        late = served.start(infer(RED), timeout=3)
        await until(lambda: served.model_server.queue_depth == 1)
        # The client may leave some milliseconds before the deadline that gRPC, which rounds it,
        # tells the server. The event loop hears of it after both.
        time.sleep(3.1)
        with pytest.raises(grpc.aio.AioRpcError):
            await late
        await until(lambda: served.model_server.queue_depth == 0)
        call = served.start(infer(RED), timeout=None)
        await until(lambda: served.model_server.queue_depth == 1)
        call.cancel()
        await until(lambda: served.model_server.queue_depth == 0)
        engine.go.set()
        await busy

        def count(code: str) -> float:
            labels = {"method": "ModelInfer", "code": code}
            return sample(served.model_server, "grpc_calls_total", **labels)

        codes = ("OK", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "CANCELLED")
        await until(lambda: [count(code) for code in codes] == [1, 1, 1, 1])
        found = {
            name: sample(served.model_server, name, **labels)
            for name, labels in {
                "classifier_rejections_total": {
                    "model": "tiny",
                    "reason": "invalid-inference-request",
                },
                "classifier_predictions_total": {"model": "tiny", "label": "blue"},
                "grpc_call_seconds_count": {"method": "ModelInfer"},
            }.items()
        }
        assert list(found.values()) == [1, 1, 4]


def test_every_error_that_a_call_can_meet_has_a_status() -> None:
    of_http = {
        errors.MissingFieldError,
        errors.MalformedFormError,
        errors.MalformedRequestError,
        errors.HeadTooLargeError,
        errors.SlowHeadError,
        errors.UnsupportedEncodingError,
    }
    internal = {errors.EngineFailedError, errors.StartupError}
    # The command line has errors of its own.
    known = {it for it in ServiceError.__subclasses__() if it.__module__ == errors.__name__}
    assert known == TABLE.keys() | of_http | internal


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Keeps the spans of servers that start from now on."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "start", lambda: Tracing(provider))
    return exporter


@pytest.mark.anyio
async def test_call_is_a_span_in_the_trace_of_the_caller(
    serve: Serve, spans: InMemorySpanExporter
) -> None:
    trace, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    metadata = [("traceparent", f"00-{trace}-{caller}-01")]
    async with serve() as served:
        await served.ask(pb.ServerReadyRequest(), metadata)
        await served.ask(infer(RED), metadata)
    found = {span.name: span for span in spans.get_finished_spans()}
    assert {f"{span.context.trace_id:032x}" for span in found.values()} == {trace}
    call = found.pop("inference.GRPCInferenceService/ModelInfer")
    assert call.kind is SpanKind.SERVER
    assert call.parent is not None
    assert f"{call.parent.span_id:016x}" == caller
    assert call.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "inference.GRPCInferenceService/ModelInfer",
        "rpc.response.status_code": "OK",
        "model.name": "tiny",
        "model.version": "1",
    }
    assert found.keys() == {"receive", "queue", "batch", "infer", "respond"}
    for span in found.values():
        assert span.parent is not None
        assert span.parent.span_id == call.context.span_id
        assert span.attributes is not None
        assert span.attributes["model.name"] == "tiny"


@pytest.mark.anyio
async def test_span_of_a_call_is_an_error_where_the_server_is_at_fault(
    serve: Serve, spans: InMemorySpanExporter, engine: FakeEngine
) -> None:
    async with serve() as served:
        await served.refusal(pb.ModelMetadataRequest(name="huge"))
        engine.error = ZeroDivisionError()
        await served.refusal(infer(RED))
    statuses = {
        span.name.rpartition("/")[2]: (span.status.status_code, (span.attributes or {}))
        for span in spans.get_finished_spans()
    }
    status, attributes = statuses["ModelMetadata"]
    assert status is SpanStatus.UNSET
    assert attributes["rpc.response.status_code"] == "NOT_FOUND"
    status, attributes = statuses["ModelInfer"]
    assert status is SpanStatus.ERROR
    assert attributes["error.type"] == "INTERNAL"
