"""The container of a pod on a real engine, confined as its manifest says."""

import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2

from tests.deployment.pods import Pod
from tests.e2e import web

WAIT_S = 60


def missing(image: str) -> str | None:
    """Says why no container of an image can be run here, if so."""
    if not shutil.which("docker"):
        return "docker is not installed"
    if docker("version").returncode:
        return "no engine answers"
    if docker("image", "inspect", image).returncode:
        return f"the image {image} is not built: docker compose --profile cpu build"
    return None


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of docker."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Container:
    """One that runs.

    Attributes:
        name: its name.
        pod: the pod that it is of.
        url: where its HTTP port can be reached, without a slash at the end.
    """

    name: str
    pod: Pod
    url: str

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command inside, as its user."""
        return docker("exec", self.name, *command)

    def probe(self, kind: str) -> int | None:
        """Asks as a probe of the pod does; None where nothing answers in time."""
        probe = self.pod.container[kind]
        try:
            url = self.url + probe["httpGet"]["path"]
            return web.get(url, timeout=probe["timeoutSeconds"]).status_code
        except httpx2.TransportError:
            return None

    def wait_for(self, kind: str) -> None:
        """Waits for 200 from a probe; a startup probe ends the pod when it has failed too often."""
        probe = self.pod.container[kind]
        is_startup = kind == "startupProbe"
        patience = probe["periodSeconds"] * probe["failureThreshold"] if is_startup else WAIT_S
        deadline = time.monotonic() + patience
        while self.probe(kind) != 200:
            if time.monotonic() > deadline:
                raise TimeoutError(docker("logs", self.name).stderr)
            time.sleep(0.1)

    def stop(self) -> tuple[float, int]:
        """Stops it within the grace period; returns the seconds it took and the exit status."""
        start = time.monotonic()
        docker("stop", f"--time={self.pod.spec['terminationGracePeriodSeconds']}", self.name)
        seconds = time.monotonic() - start
        (state,) = json.loads(docker("inspect", self.name).stdout)
        return seconds, state["State"]["ExitCode"]


@contextmanager
def started(pod: Pod, *more: str) -> Iterator[Container]:
    """Starts the container of a pod, with more arguments for `docker run`; removes it."""
    name, port = f"cifar10-serve-{uuid.uuid4().hex[:8]}", pod.variables["CIFAR10_PORT"]
    confined = (*_confinement(pod), f"--publish=127.0.0.1::{port}", *more)
    begun = docker("run", "--detach", f"--name={name}", *confined, pod.container["image"])
    try:
        assert begun.returncode == 0, begun.stderr
        address = docker("port", name, port).stdout.splitlines()[0]
        yield Container(name, pod, f"http://{address}")
    finally:
        docker("rm", "--force", name)


def _confinement(pod: Pod) -> Iterator[str]:
    """The arguments of `docker run` that do what the pod says."""
    context, limits = pod.confinement, pod.container["resources"]["limits"]
    group = f":{context['runAsGroup']}" if "runAsGroup" in context else ""
    yield f"--user={context['runAsUser']}{group}"
    yield f"--cpus={limits['cpu']}"
    yield f"--memory={_size(limits['memory'])}"
    yield f"--memory-swap={_size(limits['memory'])}"  # a pod has no swap
    for capability in context["capabilities"]["drop"]:
        yield f"--cap-drop={capability}"
    if context["readOnlyRootFilesystem"]:
        yield "--read-only"
    if not context["allowPrivilegeEscalation"]:
        yield "--security-opt=no-new-privileges:true"
    # The engine's own profile of seccomp is what RuntimeDefault names.
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    folders = {volume["name"]: volume["emptyDir"] for volume in pod.spec["volumes"]}
    for mount in pod.container["volumeMounts"]:
        size = _size(folders[mount["name"]]["sizeLimit"])
        yield f"--tmpfs={mount['mountPath']}:mode=0777,size={size}"
    for variable, value in pod.variables.items():
        yield f"--env={variable}={value}"


def _size(quantity: str) -> str:
    """A size as the engine writes it: 2Gi is its 2g."""
    assert quantity.endswith("i")
    return quantity.removesuffix("i").lower()
