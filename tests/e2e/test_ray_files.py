"""The files that deploy the service on Ray, read without it; `tests/e2e/ray` deploys them."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings
from tests.deployment.schemas import wrong_form
from tests.shipped import VERSION

CONFIG: dict[str, Any] = yaml.safe_load(Path("docker/ray/serve.yml").read_text())
MANIFEST: dict[str, Any] = yaml.safe_load(Path("docker/kubernetes/ray/rayservice.yaml").read_text())
CLUSTER = MANIFEST["spec"]["rayClusterConfig"]
PODS = {
    "head": CLUSTER["headGroupSpec"]["template"]["spec"],
    "worker": CLUSTER["workerGroupSpecs"][0]["template"]["spec"],
}
(APPLICATION,) = CONFIG["applications"]
(DEPLOYMENT,) = APPLICATION["deployments"]


def test_deployment_is_the_class_that_is_there() -> None:
    module, _, name = APPLICATION["import_path"].partition(":")
    path = Path(module.replace(".", "/")).with_suffix(".py")
    tree = ast.parse(path.read_text())
    (replica,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert replica.name == DEPLOYMENT["name"]
    assert f"\n{name} = {replica.name}.bind()" in path.read_text()


def test_variables_are_settings_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = APPLICATION["runtime_env"]["env_vars"]
    assert all(isinstance(value, str) for value in variables.values())
    names = [name for name in variables if name.startswith("CIFAR10_")]
    assert {name.removeprefix("CIFAR10_").lower() for name in names} <= Settings.model_fields.keys()
    for name in names:
        monkeypatch.setenv(name, variables[name])
    settings = Settings()
    assert settings.version == int(VERSION)
    assert settings.served == (settings.model,)


def test_manifest_deploys_the_same() -> None:
    assert yaml.safe_load(MANIFEST["spec"]["serveConfigV2"]) == CONFIG


def test_manifest_names_the_ray_that_is_pinned() -> None:
    pins = Path("docker/requirements-ray.txt").read_text()
    (version,) = re.findall(r"^ray(?:\[serve\])?==(\S+)", pins, re.MULTILINE)
    assert CLUSTER["rayVersion"] == version


@pytest.mark.parametrize("name", PODS)
def test_pod_has_the_form_of_the_api(name: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": PODS[name]}
    assert wrong_form(pod) is None


@pytest.mark.parametrize("name", PODS)
def test_pod_is_restricted(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert container["resources"]["limits"]["memory"]


def test_port_of_the_pods_is_that_of_the_proxies() -> None:
    for pod in PODS.values():
        ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
        assert ports["serve"] == CONFIG["http_options"]["port"]


def test_worker_ends_after_its_replicas() -> None:
    assert PODS["worker"]["terminationGracePeriodSeconds"] > DEPLOYMENT.get(
        "graceful_shutdown_timeout_s", 20
    )
