"""The pods' containers on a real engine, with the very values of the manifests."""

import base64
import io
import threading
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.deployment import pods
from tests.deployment.containers import Container, missing, started
from tests.deployment.manifests import KUBERNETES, render
from tests.e2e import web
from tests.e2e.load import wait_until
from tests.shipped import NEWEST, VERSION

ROOT = KUBERNETES.parents[1]
CAT = (ROOT / "tests" / "data" / "cat.jpg").read_bytes()
GIGABYTE = 2**30

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", autouse=True)
def engine() -> None:
    if reason := missing("cifar10-serve:cpu"):
        pytest.skip(reason)


@pytest.fixture(scope="module")
def container() -> Iterator[Container]:
    with started(pods.read_pod(render(KUBERNETES / "overlays" / "cpu"))) as running:
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            running.wait_for(kind)
        yield running


def test_process_has_no_privileges_and_cannot_get_any(container: Container) -> None:
    lines = container.run("cat", "/proc/1/status").stdout.splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["Uid"].split() == [str(pods.USER)] * 4
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_only_tmp_can_be_written_to_and_is_bounded(container: Container) -> None:
    for folder in ("/", "/app", "/app/models", "/var/tmp", "/home"):
        assert container.run("touch", f"{folder}/file").returncode != 0
    assert container.run("touch", "/tmp/file").returncode == 0
    assert container.run("df", "--output=size", "-BM", "/tmp").stdout.split()[-1] == "256M"


def test_service_counts_its_workers_by_the_limits(container: Container) -> None:
    seen = "from service.hardware import *; print(available_cpus(), int(available_memory()))"
    cpus, memory = map(int, container.run("python", "-c", seen).stdout.split())
    limits = container.pod.container["resources"]["limits"]
    assert (str(cpus), memory) == (limits["cpu"], 2 * GIGABYTE)
    assert limits["memory"] == "2Gi"
    workers = f'service_workers{{status="ok"}} {cpus}.0'
    wait_until(lambda: workers in web.get(f"{container.url}/metrics").text)


def test_largest_picture_fits_into_the_memory(container: Container) -> None:
    large = io.BytesIO()
    Image.new("L", (8_000, 8_000)).save(large, "PNG")
    answer = web.post(f"{container.url}/predict", content=large.getvalue(), timeout=60)
    assert answer.status_code == 200, answer.text
    answer = web.post(f"{container.url}/predict", content=CAT)
    assert answer.json()["predictions"][0]["label"] == "cat"


def test_stop_is_announced_and_ends_within_the_grace_period() -> None:
    with started(pods.read_pod(render(KUBERNETES / "overlays" / "cpu"))) as running:
        running.wait_for("readinessProbe")
        told: list[int | None] = []
        stopped = threading.Event()

        def watch() -> None:
            while not stopped.wait(0.2):
                told.append(running.probe("readinessProbe"))

        watcher = threading.Thread(target=watch)
        watcher.start()
        seconds, status = running.stop()
        stopped.set()
        watcher.join()
    assert status == 0
    assert seconds < running.pod.spec["terminationGracePeriodSeconds"]
    assert 503 in told


def test_version_that_kserve_mounts_is_served() -> None:
    pod = pods.read_pod(render(KUBERNETES / "kserve" / "base"))
    with started(pod, f"--volume={NEWEST}:{pod.variables['CIFAR10_MODELS']}:ro") as running:
        running.wait_for("readinessProbe")
        assert web.get(f"{running.url}/v2/models/cifar10").json()["versions"] == [VERSION]
        instance = {"b64": base64.b64encode(CAT).decode()}
        url = f"{running.url}/v1/models/cifar10:predict"
        (answer,) = web.post(url, json={"instances": [instance]}).json()["predictions"]
        assert answer["label"] == "cat"
