"""A real server behind nginx with TLS, which clients check, over HTTP and gRPC."""

import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx2
import pytest
from grpc_health.v1 import health_pb2

from service.grpc import inference_pb2 as pb
from tests.e2e import proxies, web
from tests.e2e.conftest import Server
from tests.service.conftest import colour

pytestmark = [proxies.needs_nginx, proxies.needs_openssl]

RED = colour("red")
KEY = "a-key"
AUTHORIZED = ("authorization", f"Bearer {KEY}")


@pytest.fixture(scope="module")
def running(server: Callable[..., Server], tiny_models: Path) -> Iterator[Server]:
    settings = {"models": tiny_models, "model": "tiny", "workers": 1, "log_level": "debug"}
    with server(**settings, grpc_port=0, api_keys=KEY) as running:
        yield running


@pytest.fixture(scope="module")
def nginx(running: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[proxies.Encrypted]:
    folder, upstream = tmp_path_factory.mktemp("tls"), urlsplit(running.url).netloc
    with proxies.nginx_tls(upstream, folder, running.grpc_address) as encrypted:
        yield encrypted


@pytest.fixture
def channel(nginx: proxies.Encrypted) -> Iterator[grpc.Channel]:
    credentials = grpc.ssl_channel_credentials(nginx.certificate.read_bytes())
    with grpc.secure_channel(urlsplit(nginx.url).netloc, credentials) as channel:
        yield channel


def infer(
    channel: grpc.Channel, *metadata: tuple[str, str]
) -> tuple[pb.ModelInferResponse, grpc.Call]:
    """Classifies a picture; gives the answer and the call."""
    request = pb.ModelInferRequest(model_name="tiny")
    request.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(
        RED
    )
    method: grpc.UnaryUnaryMultiCallable[pb.ModelInferRequest, pb.ModelInferResponse]
    method = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    return method.with_call(request, timeout=30, metadata=metadata)


def test_client_that_checks_the_certificate_is_answered(nginx: proxies.Encrypted) -> None:
    context = ssl.create_default_context(cafile=str(nginx.certificate))
    headers = {"X-API-Key": KEY}
    answer = web.post(f"{nginx.url}predict", content=RED, headers=headers, verify=context)
    assert answer.json()["predictions"][0]["label"] == "red"
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_client_that_does_not_know_the_certificate_refuses_it(nginx: proxies.Encrypted) -> None:
    with pytest.raises(httpx2.ConnectError, match="certificate verify failed"):
        web.get(f"{nginx.url}health", verify=ssl.create_default_context())


def test_plain_http_is_sent_to_https(nginx: proxies.Encrypted) -> None:
    answer = web.get(f"{nginx.plain_url}health/ready?x=1")
    assert answer.status_code == 308
    assert answer.headers["location"] == "https://127.0.0.1/health/ready?x=1"


def test_grpc_is_answered_over_tls_with_an_id(channel: grpc.Channel) -> None:
    answer, call = infer(channel, AUTHORIZED)
    assert [output.name for output in answer.outputs] == ["probabilities", "energy"]
    trailing = {key: str(value) for key, value in call.trailing_metadata()}
    assert re.fullmatch("[0-9a-f]{32}", trailing["x-request-id"])
    _, call = infer(channel, AUTHORIZED, ("x-request-id", "mine-42"))
    assert ("x-request-id", "mine-42") in list(call.trailing_metadata())


def test_grpc_status_passes_through_nginx(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        infer(channel)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_grpc_health_is_answered_over_tls(channel: grpc.Channel) -> None:
    check: grpc.UnaryUnaryMultiCallable[
        health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
    ]
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    serving = health_pb2.HealthCheckResponse.SERVING
    assert check(health_pb2.HealthCheckRequest(), timeout=30).status == serving


def test_the_two_files_of_nginx_agree() -> None:
    """What one says of connections, sizes and headers, the other says too."""

    def service(conf: Path) -> list[str]:
        text = re.sub(r" +#.*$", "", conf.read_text(), flags=re.MULTILINE)
        blocks = ("map .+?^}", "upstream cifar10 .+?^}", "client_.+?;", "location / .+?^    }")
        found = [re.findall(block, text, re.DOTALL | re.MULTILINE) for block in blocks]
        assert all(found)
        return [block for matches in found for block in matches]

    assert service(proxies.NGINX_CONF) == service(proxies.NGINX_TLS_CONF)
