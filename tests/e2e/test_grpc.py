"""gRPC beside HTTP, in the worker processes of the service."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
from grpc_health.v1 import health_pb2

from service.grpc import inference_pb2 as pb
from tests.e2e import web
from tests.e2e.conftest import Server, StartServer
from tests.e2e.load import wait_until

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


def infer(channel: grpc.Channel) -> pb.ModelInferResponse:
    request = pb.ModelInferRequest(model_name="tiny", raw_input_contents=[PICTURES.tobytes()])
    request.inputs.add(name="image", datatype="UINT8", shape=PICTURES.shape)
    method: grpc.UnaryUnaryMultiCallable[pb.ModelInferRequest, pb.ModelInferResponse]
    method = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    return method(request, timeout=30, wait_for_ready=True)


def test_answers_of_all_workers_are_those_of_http(
    server: Callable[..., Server], tiny_models: Path
) -> None:
    with server(models=tiny_models, workers=2, grpc_port=0) as running:
        tensor = {"name": "image", "datatype": "UINT8", "shape": PICTURES.shape}
        document = {"inputs": [tensor | {"data": PICTURES.ravel().tolist()}]}
        answer = web.post(f"{running.url}/v2/models/tiny/infer", json=document).json()
        expected = np.array(answer["outputs"][0]["data"], np.float32)
        for _ in range(8):
            with grpc.insecure_channel(running.grpc_address, OWN_CONNECTION) as channel:
                found = np.frombuffer(infer(channel).raw_output_contents[0], np.float32)
                np.testing.assert_array_equal(found, expected)
        metrics = web.get(f"{running.url}/metrics").text
        assert 'grpc_calls_total{code="OK",method="ModelInfer"}' in metrics


def test_bytes_that_wait_are_bounded_over_both_protocols(
    server: Callable[..., Server], tiny_models: Path
) -> None:
    limits = {"max_body_bytes": 500, "max_pending_bytes": 500}
    with server(models=tiny_models, workers=1, grpc_port=0, **limits) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with (
            socket.create_connection((host, int(port)), timeout=30) as upload,
            grpc.insecure_channel(running.grpc_address) as channel,
        ):
            assert len(infer(channel).outputs) == 2
            # The last byte of the picture is missing: all others wait.
            upload.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n\r\n")
            upload.sendall(bytes(399))
            wait_until(lambda: refusal(channel) is not None)
            error = refusal(channel)
            assert error is not None
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert "Too many bytes" in str(error.details())
            upload.sendall(b"x")
            assert upload.recv(1000).startswith(b"HTTP/1.1 415 ")
            assert len(infer(channel).outputs) == 2


def refusal(channel: grpc.Channel) -> grpc.Call | None:
    """The error that pictures end in, if they do."""
    try:
        infer(channel)
    except grpc.RpcError as error:
        return error  # type: ignore[return-value]  # an error of a call is a call, too
    return None


def test_stop_announces_itself_and_answers_what_has_begun(
    start_server: StartServer, tiny_models: Path
) -> None:
    running = start_server(models=tiny_models, workers=2, grpc_port=0, drain_s=60)
    running.wait_until_ready()
    with grpc.insecure_channel(running.grpc_address) as channel:
        infer(channel)
        health: grpc.UnaryStreamMultiCallable[
            health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        ] = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        watch = health(health_pb2.HealthCheckRequest(service="tiny"), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        running.process.send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert len(infer(channel).outputs) == 2
        running.process.send_signal(signal.SIGTERM)  # it has drained for long enough
        assert running.wait() == 0


def test_port_that_is_in_use_is_told_at_the_start(
    server: Callable[..., Server], start_server: StartServer, tiny_models: Path
) -> None:
    with server(models=tiny_models, workers=1, grpc_port=0) as first:
        port = first.grpc_address.rpartition(":")[2]
        second = start_server(models=tiny_models, workers=1, grpc_port=port)
        assert second.wait() == 1
        assert f"port {port} on 127.0.0.1 is already in use" in second.log.read_text()
        assert "--grpc-port" in second.log.read_text()
