"""KServe: the form and sense of its manifests, and a service as its runtime starts it."""

import base64
import copy
import functools
import json
import subprocess
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.benchmark.environments import InstallError, ensure
from tests.deployment import pods
from tests.deployment.checks import faults
from tests.deployment.manifests import KUBERNETES, Manifest, of_kind, render
from tests.deployment.test_manifests import change
from tests.e2e import web
from tests.e2e.serving import running
from tests.service.conftest import colour
from tests.service.models import write_model

HERE = Path(__file__).parent
FOLDERS = ["base", "canary", "grpc"]
KINDS = ["ServingRuntime", "InferenceService"]
FAULTS: list[tuple[str, str, str, object, str]] = [
    ("base", "ServingRuntime", "containers.0.env.1.value", "80", "nothing listens on port 8080"),
    ("base", "ServingRuntime", "containers.0.env.4.name", "CIFAR10_FOLDER", "folder"),
    ("base", "ServingRuntime", "containers.0.readinessProbe.httpGet.path", "/ready", "told 404"),
    ("base", "ServingRuntime", "containers.0.readinessProbe.httpGet.port", 80, "asks port 80"),
    ("base", "ServingRuntime", "containers.0.securityContext.runAsUser", 0, "runAsUser"),
    ("base", "ServingRuntime", "protocolVersions", ["v1"], "no runtime has the protocol v2"),
    ("base", "InferenceService", "predictor.model.modelFormat.name", "onnx", "the format onnx"),
    ("grpc", "ServingRuntime", "containers.0.env.6.value", "9001", "nothing listens on port 9000"),
    ("grpc", "ServingRuntime", "containers.0.readinessProbe.grpc.port", 8080, "asks port 8080"),
    ("grpc", "InferenceService", "predictor.model.protocolVersion", "v2", "the protocol v2"),
]


@functools.cache
def rendered(name: str) -> list[Manifest]:
    return render(KUBERNETES / "kserve" / name)


@pytest.mark.parametrize("name", FOLDERS)
def test_manifests_fit_each_other_and_the_service(name: str) -> None:
    assert faults(rendered(name)) == []


@pytest.mark.parametrize(("name", "kind", "path", "value", "words"), FAULTS)
def test_fault_is_found(name: str, kind: str, path: str, value: object, words: str) -> None:
    manifests = copy.deepcopy(rendered(name))
    (manifest,) = of_kind(manifests, kind)
    change(manifest["spec"], path, value)
    assert words in "\n".join(faults(manifests))


def test_canary_gets_a_share_of_the_requests_and_another_version() -> None:
    (before,), (canary,) = (
        of_kind(rendered(name), "InferenceService") for name in ("base", "canary")
    )
    old, new = before["spec"]["predictor"], canary["spec"]["predictor"]
    assert before["metadata"] == canary["metadata"]
    assert 0 < new.pop("canaryTrafficPercent") < 100
    addresses = [spec["model"].pop("storageUri").split("/") for spec in (old, new)]
    assert addresses[0][:-1] == addresses[1][:-1]
    assert int(addresses[0][-1]) < int(addresses[1][-1])
    assert old == new


@pytest.mark.long
def test_classes_of_the_sdk_read_and_write_the_same() -> None:
    try:
        python = ensure("client-kserve_rest", HERE.parent / "clients" / "kserve_rest.txt")
    except InstallError as error:
        pytest.skip(f"KServe's SDK cannot be installed: {error}")

    manifests = [manifest for name in FOLDERS for manifest in rendered(name)]
    misspelt = [copy.deepcopy(of_kind(manifests, kind)[0]) for kind in KINDS]
    for manifest in misspelt:
        manifest["spec"]["replicaz"] = 2
    done = subprocess.run(
        [python, HERE / "kserve_round_trip.py"],
        input=json.dumps([manifests, *([manifest] for manifest in misspelt)]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    whole, *refused = json.loads(done.stdout)
    assert whole == manifests
    assert len(refused) == len(KINDS)
    assert all("has no replicaz" in reason for reason in refused)


@pytest.fixture(params=["version", "repository"])
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What KServe mounts: the files of version 3, published as `tiny`, or a whole repository."""
    if request.param == "repository":
        write_model(tmp_path, pods.INFERENCE_SERVICE, 3)
        return tmp_path
    return write_model(tmp_path, version=3).rename(tmp_path / "mounted")


def test_runtime_serves_what_kserve_mounts_by_all_its_protocols(mounted: Path) -> None:
    pod, name = pods.read_pod(rendered("grpc")), pods.INFERENCE_SERVICE
    assert pod.variables["CIFAR10_MODELS"] == "/mnt/models"
    here = {"MODELS": str(mounted), "HOST": "127.0.0.1", "PORT": "0", "GRPC_PORT": "0"}
    own = {f"CIFAR10_{key}": value for key, value in (here | {"WORKERS": "2"}).items()}
    picture = colour("blue")
    with running(**pod.variables | own) as server:
        assert web.get(f"{server.url}/v2/models/{name}").json()["versions"] == ["3"]
        instance = {"b64": base64.b64encode(picture).decode()}
        url = f"{server.url}/v1/models/{name}:predict"
        (answer,) = web.post(url, json={"instances": [instance]}).json()["predictions"]
        assert answer["label"] == "blue"
        answer = web.post(f"{server.url}/predict", content=picture).json()
        assert (answer["model"], answer["version"]) == (name, "3")
        with grpc.insecure_channel(server.grpc_address) as channel:
            check: grpc.UnaryUnaryMultiCallable[
                health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
            ] = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            for service in ("", name):
                request = health_pb2.HealthCheckRequest(service=service)
                answered = check(request, timeout=30, wait_for_ready=True)
                assert answered.status == health_pb2.HealthCheckResponse.SERVING
