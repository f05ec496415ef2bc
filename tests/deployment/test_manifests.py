"""The manifests of Kubernetes: their form, and whether they fit each other and the service."""

import copy
import functools
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployment import rules
from tests.deployment.checks import faults
from tests.deployment.manifests import Manifest, compose, of_kind, render
from tests.deployment.schemas import EXTENSIONS, wrong_form, wrong_form_of_extension

DOCKER = rules.DOCKER
COMPONENTS = [
    (),
    ("autoscaling-cpu",),
    ("autoscaling-queue", "monitoring"),
    ("models-claim",),
    ("models-image", "monitoring", "autoscaling-cpu"),
]
ALL = ("autoscaling-queue", "monitoring")
# What each fault changes, to what (None removes it), and the words that it is found by.
FAULTS: list[tuple[str, str, object, str]] = [
    ("ConfigMap", "data.CIFAR10_DRAIN_SECONDS", "5", "drain_seconds"),
    ("ConfigMap", "data.CIFAR10_DRAIN_S", "soon", "drain_s"),
    ("ConfigMap", "data.CIFAR10_DRAIN_S", "15", "killed while it may still answer"),
    ("ConfigMap", "data.CIFAR10_DEADLINE_MS", "60000", "killed while it may still answer"),
    ("ConfigMap", "metadata.name", "other", "there is no ConfigMap"),
    ("Deployment", "spec.template.metadata.labels", {"app": "other"}, "does not select the pods"),
    ("Deployment", "spec.replicas", 2, "two owners"),
    ("pod", "terminationGracePeriodSeconds", 30, "killed while it may still answer"),
    ("pod", "serviceAccountName", "default", "there is no ServiceAccount"),
    ("pod", "automountServiceAccountToken", None, "has a token"),
    ("pod", "hostNetwork", True, "hostNetwork"),
    ("pod", "securityContext.runAsNonRoot", False, "runAsNonRoot"),
    ("pod", "securityContext.runAsUser", 0, "runAsUser"),
    ("pod", "securityContext.seccompProfile", None, "seccompProfile"),
    ("pod", "volumes.0.name", "other", "a volume is mounted that is not there"),
    ("pod", "volumes.0.emptyDir", None, "nothing can be written to /tmp"),
    ("pod", "volumes.0.hostPath", {"path": "/"}, "a kind that is not allowed"),
    ("container", "env.1.value", "8080", "nothing listens on port 8000"),
    ("container", "ports.0.containerPort", 80, "nothing listens on port 80"),
    ("container", "ports.0.name", "web", "asks port http"),
    ("container", "startupProbe.httpGet.path", "/healthz", "startupProbe is told 404"),
    ("container", "readinessProbe.httpGet.path", "/ready", "readinessProbe is told 404"),
    ("container", "readinessProbe.httpGet.path", "/health/live", "readinessProbe is told 200"),
    ("container", "readinessProbe.httpGet.port", 8080, "readinessProbe asks port 8080"),
    ("container", "readinessProbe", None, "there is no readinessProbe"),
    ("container", "livenessProbe.httpGet.path", "/health/ready", "livenessProbe is told 503"),
    ("container", "livenessProbe.failureThreshold", 2, "the livenessProbe waits 20 s"),
    ("container", "securityContext.allowPrivilegeEscalation", True, "allowPrivilegeEscalation"),
    ("container", "securityContext.readOnlyRootFilesystem", None, "readOnlyRootFilesystem"),
    ("container", "securityContext.capabilities.add", ["NET_RAW"], "capabilities"),
    ("container", "resources.limits.cpu", "4", "cpu that is requested"),
    ("container", "resources.limits.memory", None, "memory that is requested"),
    ("ServiceAccount", "automountServiceAccountToken", True, "has a token"),
    ("Service", "spec.selector", {"app": "other"}, "Service does not select the pods"),
    ("Service", "spec.ports.0.targetPort", 80, "Service leads to port 80"),
    ("PodDisruptionBudget", "spec.selector.matchLabels", {}, "does not select the pods"),
    ("NetworkPolicy", "spec.podSelector.matchLabels.app", "other", "does not select the pods"),
    ("NetworkPolicy", "spec.ingress.0.ports.0.port", "https", "lets in to the ports"),
    ("NetworkPolicy", "spec.policyTypes", ["Ingress"], "leaves a direction open"),
    ("ScaledObject", "spec.scaleTargetRef.name", "other", "scales something else"),
    (
        "ScaledObject",
        "spec.triggers.0.metadata.query",
        'sum(classifier_queue_depth{job="x"})',
        "the job is cifar10-serve",
    ),
    ("ServiceMonitor", "spec.selector.matchLabels.app", "other", "does not select the Service"),
    ("ServiceMonitor", "spec.endpoints.0.port", "metrics", "ServiceMonitor asks metrics"),
    ("ServiceMonitor", "spec.endpoints.0.path", "/prometheus", "ServiceMonitor asks http"),
    ("ServiceMonitor", "spec.jobLabel", "app", "the job is None"),
]


@functools.cache
def rendered(overlay: str, components: tuple[str, ...] = ()) -> list[Manifest]:
    with tempfile.TemporaryDirectory() as folder:
        return compose(Path(folder), overlay, components)


def wrong_forms(manifests: Sequence[Manifest]) -> list[str]:
    """What has not the form that the API demands."""
    found = (wrong_form(it) for it in manifests if it["kind"] not in EXTENSIONS)
    return [wrong for wrong in found if wrong]


def part(manifests: Sequence[Manifest], kind: str) -> Any:  # noqa: ANN401
    """The manifest of a kind, or the pod or container of the Deployment."""
    if kind in ("pod", "container"):
        (deployment,) = of_kind(manifests, "Deployment")
        pod = deployment["spec"]["template"]["spec"]
        return pod if kind == "pod" else pod["containers"][0]
    return of_kind(manifests, kind)[-1]


def change(manifest: Any, path: str, value: object) -> None:  # noqa: ANN401
    """Sets, or removes, what is at a path such as `spec.ports.0.name`."""
    *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
    for key in parents:
        manifest = manifest[key]
    if value is None:
        del manifest[last]
    else:
        manifest[last] = value


@pytest.mark.parametrize("components", COMPONENTS, ids="+".join)
@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_manifests_have_the_form_that_the_api_demands(
    overlay: str, components: tuple[str, ...]
) -> None:
    assert wrong_forms(rendered(overlay, components)) == []


@pytest.mark.parametrize("components", COMPONENTS, ids="+".join)
@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_manifests_fit_each_other_and_the_service(
    overlay: str, components: tuple[str, ...]
) -> None:
    assert faults(rendered(overlay, components)) == []


@pytest.mark.parametrize(
    "kind",
    [
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    ],
)
def test_misspelt_field_is_found(kind: str) -> None:
    components = ("autoscaling-cpu",) if kind == "HorizontalPodAutoscaler" else ALL
    manifest = copy.deepcopy(part(rendered("cpu", components), kind))
    for holder in (manifest, manifest.get("spec", manifest)):
        misspelt = copy.deepcopy(manifest)
        (misspelt if holder is manifest else misspelt["spec"])["replicaz"] = 2
        assert wrong_form(misspelt)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("container", "readinessProbe.periodSecond"),
        ("container", "securityContext.readOnlyRootFileSystem"),
        ("pod", "volumes.0.emptyDir.size"),
    ],
)
def test_misspelt_field_deep_inside_is_found(kind: str, path: str) -> None:
    manifests = copy.deepcopy(rendered("cpu", ALL))
    change(part(manifests, kind), path, 1)
    (deployment,) = of_kind(manifests, "Deployment")
    assert path.split(".")[-1] in (wrong_form(deployment) or "")


@pytest.mark.long
def test_extensions_have_the_form_of_their_models_and_no_other() -> None:
    """One test of all, because the models take seconds to import."""
    places = {
        "PrometheusRule": "groups.0.rules.0.keepfiringfor",
        "ScaledObject": "triggers.0.metricstype",
        "ServiceMonitor": "endpoints.0.intervall",
    }
    assert places.keys() == EXTENSIONS
    for kind, place in places.items():
        manifest = part(rendered("cpu", ALL), kind)
        assert wrong_form_of_extension(manifest) is None
        for path in ("replicaz", "spec.replicaz", f"spec.{place}"):
            misspelt = copy.deepcopy(manifest)
            change(misspelt, path, "1m")
            assert wrong_form_of_extension(misspelt), path


@pytest.mark.parametrize(("kind", "path", "value", "words"), FAULTS)
def test_fault_is_found(kind: str, path: str, value: object, words: str) -> None:
    manifests = copy.deepcopy(rendered("cpu", ALL))
    change(part(manifests, kind), path, value)
    assert words in "\n".join(faults(manifests))


def test_two_autoscalers_are_a_fault() -> None:
    both = rendered("cpu", ("autoscaling-cpu",)) + of_kind(rendered("cpu", ALL), "ScaledObject")
    assert "two autoscalers contradict each other" in faults(both)


def test_pods_are_replaced_when_a_setting_changes() -> None:
    """The name of the ConfigMap says what it holds, and the pods name it."""
    names = {part(rendered(overlay), "ConfigMap")["metadata"]["name"] for overlay in ("cpu", "gpu")}
    assert len(names) == 2


@pytest.mark.parametrize(("overlay", "cuda"), [("cpu", False), ("gpu", True)])
def test_overlay_asks_for_its_device(overlay: str, cuda: bool) -> None:
    manifests = rendered(overlay)
    container = part(manifests, "container")
    assert container["image"] == f"cifar10-serve:{overlay}"
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) == cuda
    data = part(manifests, "ConfigMap")["data"]
    assert data["CIFAR10_PROVIDER"] == ("cuda" if cuda else "cpu")
    assert data.get("CIFAR10_REQUIRE_CUDA") == ("1" if cuda else None)


@pytest.mark.parametrize("component", ["models-claim", "models-image"])
def test_models_are_mounted_where_the_image_has_them(component: str) -> None:
    (mount,) = [
        mount
        for mount in part(rendered("cpu", (component,)), "container")["volumeMounts"]
        if mount["name"] == "models"
    ]
    (folder,) = set(re.findall(r"^WORKDIR (\S+)$", (DOCKER / "Dockerfile").read_text(), re.M))
    assert mount["mountPath"] == f"{folder}/models"
    assert mount["readOnly"]


def test_user_is_the_one_of_the_image() -> None:
    pod = part(rendered("cpu"), "pod")
    users = re.findall(r"^USER (\d+)$", (DOCKER / "Dockerfile").read_text(), re.M)
    assert {str(pod["securityContext"]["runAsUser"])} == set(users)


def test_rules_are_those_of_prometheus() -> None:
    assert rules.RULE.read_text() == rules.rule(), "run `python -m tests.deployment.rules`"
    (rule,) = of_kind(rendered("cpu", ALL), "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(rules.ALERTS.read_text())


def test_dashboard_is_that_of_grafana() -> None:
    path = DOCKER / "monitoring" / "grafana" / "dashboards" / "cifar10-serve.json"
    boards = [it for it in of_kind(rendered("cpu", ALL), "ConfigMap") if "dashboard" in
              it["metadata"]["name"]]  # fmt: skip
    (board,) = boards
    assert json.loads(board["data"][path.name]) == json.loads(path.read_text())
    assert board["metadata"]["labels"] == {"grafana_dashboard": "1"}


def test_kustomization_of_the_readme_is_rendered(tmp_path: Path) -> None:
    (text,) = re.findall(
        r"^```yaml\n(apiVersion: kustomize.*?)^```",
        (DOCKER / "README.md").read_text(),
        re.M | re.S,
    )
    checkout = tmp_path / "cifar10-serve"
    checkout.symlink_to(DOCKER.parent, target_is_directory=True)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(text)
    manifests = render(folder)
    assert faults(manifests) == []
    assert wrong_forms(manifests) == []
    assert part(manifests, "container")["image"].startswith("registry.example/")
    models = part(manifests, "pod")["volumes"][0]
    assert models["image"]["reference"].startswith("registry.example/")
