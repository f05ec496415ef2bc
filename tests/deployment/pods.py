"""What runs in a pod: the container of a Deployment, or of KServe's runtime, and its settings."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from starlette.testclient import TestClient

from service.http.app import create_app
from service.inference.model_server import ModelServer
from service.process.lifecycle import EXIT_S, GRACE_S
from service.settings import Settings, explain
from tests.deployment.manifests import Manifest, of_kind

# What KServe puts in place of {{.Name}}.
INFERENCE_SERVICE = "cifar10"
USER = 10001  # of the image
# What a probe is to be told while the models are loading.
_WHILE_LOADING = {"startupProbe": 200, "readinessProbe": 503, "livenessProbe": 200}
_CONFINED = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
# That pod security `restricted` allows, and images, which are read-only.
_VOLUMES = {"configMap", "emptyDir", "image", "persistentVolumeClaim", "projected", "secret"}


class Pod(NamedTuple):
    """A pod of one container.

    Attributes:
        spec: what a Deployment or a runtime says of it.
        variables: the environment of the container.
    """

    spec: dict[str, Any]
    variables: dict[str, str]

    @property
    def container(self) -> dict[str, Any]:
        """The container."""
        (container,) = self.spec["containers"]
        assert isinstance(container, dict)
        return container

    @property
    def confinement(self) -> dict[str, Any]:
        """The security context of the container, with that of the pod."""
        of_pod: dict[str, Any] = self.spec.get("securityContext", {})
        own: dict[str, Any] = self.container.get("securityContext", {})
        return of_pod | own

    def port(self, port: int | str) -> int | None:
        """A port by its number or name; None where the container has no such name."""
        named = {entry["name"]: entry["containerPort"] for entry in self.container["ports"]}
        return port if isinstance(port, int) else named.get(port)


def read_pod(manifests: Sequence[Manifest]) -> Pod:
    """The pod of a Deployment or a ServingRuntime."""
    (owner,) = of_kind(manifests, "Deployment") or of_kind(manifests, "ServingRuntime")
    spec = owner["spec"].get("template", owner)["spec"]
    (container,) = spec["containers"]
    maps = {it["metadata"]["name"]: it["data"] for it in of_kind(manifests, "ConfigMap")}
    variables: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        if "configMapRef" in source:
            variables |= maps.get(source["configMapRef"]["name"], {})
    for entry in container["env"]:
        variables[entry["name"]] = entry["value"].replace("{{.Name}}", INFERENCE_SERVICE)
    return Pod(spec, variables)


def faults(pod: Pod) -> Iterator[str]:
    """Finds what the service in a pod would not do as the pod says."""
    try:
        settings = Settings.model_validate(
            {name.removeprefix("CIFAR10_").lower(): text for name, text in pod.variables.items()}
        )
    except ValidationError as error:
        yield f"settings: {explain(error)}"
        return
    listening = {settings.port, settings.grpc_port}
    for entry in pod.container["ports"]:
        if entry["containerPort"] not in listening:
            yield f"nothing listens on port {entry['containerPort']}"
    yield from _faults_of_probes(pod, settings)
    yield from _faults_of_confinement(pod)
    if "terminationGracePeriodSeconds" in pod.spec:
        needed = settings.drain_s + max(GRACE_S, settings.deadline_ms / 1000) + EXIT_S
        if pod.spec["terminationGracePeriodSeconds"] <= needed:
            yield f"a pod is killed while it may still answer, which takes it {needed:.0f} s"


def _faults_of_probes(pod: Pod, settings: Settings) -> Iterator[str]:
    for kind, expected in _WHILE_LOADING.items():
        probe = pod.container.get(kind, {})
        if "grpc" in probe and probe["grpc"]["port"] != settings.grpc_port:
            yield f"{kind} asks port {probe['grpc']['port']}"
        if "httpGet" in probe:
            path, port = probe["httpGet"]["path"], pod.port(probe["httpGet"]["port"])
            if port != settings.port:
                yield f"{kind} asks port {probe['httpGet']['port']}"
            if (status := _status_while_loading(path)) != expected:
                yield f"{kind} is told {status} by {path} while the models are loading"
    if "readinessProbe" not in pod.container:
        yield "there is no readinessProbe"
    if liveness := pod.container.get("livenessProbe"):
        patience = liveness["periodSeconds"] * liveness["failureThreshold"]
        if patience <= settings.stuck_s + EXIT_S:
            yield f"the livenessProbe waits {patience} s, and the service replaces a stuck worker"


@functools.cache
def _status_while_loading(path: str) -> int:
    settings = Settings.model_validate({})
    app = create_app(settings, ModelServer(settings), load=False)
    return TestClient(app).get(path).status_code


def _faults_of_confinement(pod: Pod) -> Iterator[str]:
    for name, value in _CONFINED.items():
        if pod.confinement.get(name) != value:
            yield f"{name} is {pod.confinement.get(name)!r}"
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(name):
            yield f"{name} is set"
    volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
    for name, volume in volumes.items():
        if not volume.keys() - {"name"} <= _VOLUMES:
            yield f"{name} is a volume of a kind that is not allowed"
    mounts = {mount["mountPath"]: volumes.get(mount["name"]) for mount in
              pod.container["volumeMounts"]}  # fmt: skip
    if None in mounts.values():
        yield "a volume is mounted that is not there"
    if "emptyDir" not in (mounts.get("/tmp") or {}):
        yield "nothing can be written to /tmp"
    resources = pod.container["resources"]
    for name in ("cpu", "memory"):
        # Workers are counted by the limit, and memory that is lent can be taken back.
        if resources["requests"].get(name) != resources["limits"].get(name):
            yield f"{name} that is requested is not what it may use"
