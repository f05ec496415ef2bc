"""Nodes, replicas and versions come and go under load."""

import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pytest
import yaml

from tests.e2e import web
from tests.e2e.load import Load, Sent, wait_until
from tests.e2e.ray.conftest import ALL, ONE
from tests.e2e.ray.deployed import Deployed, DeployError, configure
from tests.shipped import MODELS, NEWEST, VERSION

SMALL = next(Path("tests/data/cifar10/test").glob("*/*.jpg")).read_bytes()
CONNECTIONS = 64
SETTINGS = {"models": MODELS, "provider": "cpu", "served": "cifar10"}
TWO = {"num_replicas": 2, "autoscaling_config": None}
# How long throughput may take to come back once a node has joined.
BACK_S = 15

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(not ALL, reason="takes minutes: `make test-ray` runs it"),
]


def load(cluster: Deployed) -> Load:
    return Load(cluster.url, SMALL, CONNECTIONS, keep_alive=True)


def rate(sent: Sequence[Sent], start: float, end: float) -> float:
    """Answers a second to the requests of this time."""
    return sum(it.status == 200 and start <= it.at < end for it in sent) / (end - start)


def versions(sent: Sequence[Sent]) -> Counter[object]:
    return Counter(it.answer.get("version") for it in sent)


def test_command_deploys_the_file_that_ships(ray_cluster: Deployed, tmp_path: Path) -> None:
    config = configure(ray_cluster.port, {}, {})
    config["applications"][0]["runtime_env"]["env_vars"]["CIFAR10_MODELS"] = str(MODELS)
    path = tmp_path / "serve.yml"
    path.write_text(yaml.safe_dump(config))
    serve = str(ray_cluster.python.with_name("serve"))
    command = [serve, "deploy", "--address", ray_cluster.dashboard, str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    ray_cluster.wait_until_running()
    answer = web.post(f"{ray_cluster.url}/predict", content=SMALL).json()
    assert (answer["model"], answer["version"]) == ("cifar10", VERSION)
    assert ray_cluster.replicas() == 1


def test_metrics_reach_the_exporter_of_ray(ray_cluster: Deployed) -> None:
    ray_cluster.deploy(SETTINGS, **ONE)
    for _ in range(20):
        assert web.post(f"{ray_cluster.url}/predict", content=SMALL).status_code == 200
    pattern = re.compile(r'^ray_http_requests_total\{.*route="/predict".* 20\.0$', re.MULTILINE)
    found: list[str] = []

    def exported() -> bool:
        texts = [web.get(url, timeout=30).text for url in ray_cluster.exporters]
        found[:] = pattern.findall("".join(texts))
        return bool(found)

    wait_until(exported)
    assert 'status="200"' in found[0]
    assert re.search('replica="[^"]+"', found[0])


def test_node_that_is_lost_costs_what_it_had_in_work_alone(ray_cluster: Deployed) -> None:
    ray_cluster.deploy(SETTINGS, **TWO, max_replicas_per_node=1)
    with load(ray_cluster) as sending:
        time.sleep(10)
        began_at = time.monotonic()
        before = rate(sending.sent, began_at - 5, began_at)
        ray_cluster.order("remove")
        removed_at = time.monotonic()
        time.sleep(5)
        without = rate(sending.sent, removed_at + 1, time.monotonic())
        ray_cluster.order("add")
        joined_at = time.monotonic()
        wait_until(lambda: ray_cluster.replicas() == 2)
        serving_at = time.monotonic()
        time.sleep(20)
    lost = sending.failures
    seconds = range(int(time.monotonic() - joined_at - 2))
    after = [rate(sending.sent, joined_at + s, joined_at + s + 2) for s in seconds]
    back = next((s for s, answers in enumerate(after) if answers >= 0.9 * before), None)
    print(
        f"\n{len(lost)} of {len(sending.sent)} requests lost, begun from "
        f"{min((it.at for it in lost), default=began_at) - began_at:.2f} to "
        f"{max((it.at for it in lost), default=began_at) - began_at:.2f} s after the kill began, "
        f"which took {removed_at - began_at:.2f} s: {Counter(it.status for it in lost)}; "
        f"{before:.0f} requests/s before, {without:.0f} without the node, {median(after):.0f} "
        f"(median) after; the second replica serves {serving_at - joined_at:.1f} s after the node "
        f"has joined, and throughput is back after {back} s"
    )
    assert 0 < len(lost) <= CONNECTIONS  # none would mean that it had nothing in work
    assert all(it.at <= removed_at for it in lost)
    assert back is not None
    assert back <= BACK_S


def test_replicas_follow_the_load(ray_cluster: Deployed) -> None:
    scaling = {
        "min_replicas": 1,
        "max_replicas": 2,
        "target_ongoing_requests": 32,
        "upscale_delay_s": 2,
        "downscale_delay_s": 5,
        "look_back_period_s": 10.5,
    }
    ray_cluster.deploy(SETTINGS, num_replicas=None, autoscaling_config=scaling)
    wait_until(lambda: ray_cluster.replicas() == 1, 120)  # there were two of the test before
    with Load(ray_cluster.url, SMALL, clients=2, keep_alive=True) as light:
        began_at = time.monotonic()
        with load(ray_cluster) as heavy:
            wait_until(lambda: ray_cluster.replicas() == 2, 120)
            up_s = time.monotonic() - began_at
        ended_at = time.monotonic()
        wait_until(lambda: ray_cluster.replicas() == 1, 120)
        down_s = time.monotonic() - ended_at
    print(f"\ntwo replicas {up_s:.0f} s after the load began, one {down_s:.0f} s after its end")
    assert heavy.failures == light.failures == []


def test_update_to_another_version_loses_nothing(ray_cluster: Deployed) -> None:
    ray_cluster.deploy(SETTINGS | {"model_version": 1}, **TWO)
    with load(ray_cluster) as sending:
        sending.wait_for(500)
        began_at = time.monotonic()
        ray_cluster.deploy(SETTINGS | {"model_version": VERSION}, **TWO)
        seconds = time.monotonic() - began_at
        sending.wait_for(500)
    print(f"\n{len(sending.sent)} requests, the update took {seconds:.1f} s")
    assert sending.failures == []
    assert versions(sending.sent).keys() == {"1", VERSION}
    assert versions(sending.sent[-CONNECTIONS:]).keys() == {VERSION}


def test_bad_version_leaves_the_one_before(ray_cluster: Deployed, tmp_path: Path) -> None:
    bad_version = str(int(VERSION) + 1)
    shutil.copytree(NEWEST, tmp_path / "cifar10" / bad_version)
    (tmp_path / "cifar10" / bad_version / "model.int8.onnx").write_bytes(b"damaged")
    ray_cluster.deploy(SETTINGS | {"model_version": VERSION}, **TWO)
    bad = {**SETTINGS, "models": tmp_path, "model_version": bad_version}
    with load(ray_cluster) as sending:
        sending.wait_for(500)
        with pytest.raises(DeployError, match="sha256"):
            ray_cluster.deploy(bad, **TWO)
        sending.wait_for(500)
    assert sending.failures == []
    assert versions(sending.sent).keys() == {VERSION}
    assert ray_cluster.replicas() == 2
