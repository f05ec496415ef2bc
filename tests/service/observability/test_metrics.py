"""Metrics that several processes share."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.observability.metric_files import ROOM, forget_gauges
from service.observability.metrics import Metrics

# A worker that served two pictures, and then stays alive until its input is closed.
WORKER = """
import sys
from service.observability.metric_files import share_metrics
from service.observability.metrics import Metrics
from service.observability.statistics import BatchTimes

slot, version, status, queue_depth = sys.argv[1:]
share_metrics(int(slot))
metrics = Metrics(["ok", "loading", "degraded"])
metrics.show_models([("tiny", "1", "model.onnx", "0", "a", "a")])
metrics.show_models([("tiny", version, "model.onnx", "0", "a", "a")])
for label in ("cat", "ship"):
    metrics.count_request("/predict", 200, 0.02)
    metrics.count_answer("tiny", label, unfamiliar=label == "ship")
    metrics.observe_stage("tiny", "decode", 0.0004)
metrics.observe_batch("tiny", 2)
metrics.count_batch("tiny", version, BatchTimes(2, 0.004, 0.001, 0.002))
metrics.count_outcome("tiny", version, 0.01, is_success=True)
metrics.count_outcome("tiny", version, 0.02, is_success=False)
for seconds in (0.001, 0.003):
    metrics.observe_stage("tiny", "queue", seconds)
metrics.sample(status, {"tiny": int(queue_depth)}, 10)
print("done", flush=True)
sys.stdin.read()
"""

MODEL = "model=tiny provider=a requested_provider=a sha256=0 variant=model.onnx version=1"
Worker = subprocess.Popen[str]


@pytest.fixture
def start_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Worker]]:
    """Starts a process that shares its metrics with this one, and waits until it has counted."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    workers: list[Worker] = []

    def start(
        version: str = "1", status: str = "ok", queue_depth: int = 0, slot: int | None = None
    ) -> Worker:
        slot = len(workers) if slot is None else slot
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(slot), version, status, str(queue_depth)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert worker.stdout
        assert worker.stdout.readline() == "done\n"
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.communicate()


def samples() -> dict[str, float]:
    """What any of the processes exports; the labels behind the name, in order."""
    families = text_string_to_metric_families(Metrics([]).render().decode())
    return {
        " ".join(
            [sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))]
        ): sample.value
        for family in families
        for sample in family.samples
    }


def test_two_processes_export_their_sum(start_worker: Callable[..., Worker]) -> None:
    start_worker(queue_depth=3)
    start_worker(queue_depth=4)
    found = samples()
    expected = {
        "http_requests_total route=/predict status=200": 4,
        "http_request_seconds_count route=/predict": 4,
        "http_request_seconds_bucket le=0.01 route=/predict": 0,
        "http_request_seconds_bucket le=0.025 route=/predict": 4,
        "classifier_stage_seconds_count model=tiny stage=decode": 4,
        "classifier_stage_seconds_bucket le=0.0005 model=tiny stage=decode": 4,
        "classifier_stage_seconds_count model=tiny stage=queue": 4,
        "classifier_stage_seconds_sum model=tiny stage=queue": pytest.approx(0.008),
        "classifier_batch_size_count model=tiny": 2,
        "classifier_batch_size_sum model=tiny": 4,
        "classifier_predictions_total label=cat model=tiny": 2,
        "classifier_predictions_total label=ship model=tiny": 2,
        "classifier_unfamiliar_total model=tiny": 2,
        "classifier_queue_depth model=tiny": 7,
        "classifier_queue_limit": 20,
        "service_workers status=ok": 2,
        "service_worker_restarts_total": 0,
        f"classifier_model_info {MODEL}": 1,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert found["process_cpu_seconds_total"] > 0
    assert not [name for name in found if "pid=" in name]


def test_counts_of_a_dead_process_stay_and_its_gauges_go(
    start_worker: Callable[..., Worker],
) -> None:
    dead = start_worker(queue_depth=3)
    start_worker(queue_depth=4)
    memory = samples()["process_resident_memory_bytes"]
    os.kill(dead.pid, signal.SIGKILL)
    dead.wait()
    forget_gauges(0)
    found = samples()
    assert found["http_requests_total route=/predict status=200"] == 4
    assert found["classifier_queue_depth model=tiny"] == 4
    assert found["service_workers status=ok"] == 1
    assert found["process_resident_memory_bytes"] < memory


def test_statistics_are_those_of_all_processes_dead_ones_too(
    start_worker: Callable[..., Worker],
) -> None:
    for version in ("1", "1", "2"):
        start_worker(version=version)
    dead = start_worker()
    os.kill(dead.pid, signal.SIGKILL)
    dead.wait()
    found = Metrics([]).statistics()
    assert found.keys() == {("tiny", "1"), ("tiny", "2")}
    one = found["tiny", "1"]
    assert one.requests["success"].count == one.requests["fail"].count == 3
    assert one.requests["fail"].seconds == pytest.approx(0.06)
    assert one.queue.count == 6
    assert one.queue.seconds == pytest.approx(0.012)
    assert one.batches[2]["process"].count == 3
    assert one.pictures("process").count == 6
    assert one.pictures("process").seconds == pytest.approx(0.012)
    assert one.pictures("prepare").seconds == pytest.approx(0.006)
    assert time.time() - 60 < one.last_request_s <= time.time()


def test_successor_goes_on_with_the_counts_of_the_dead_in_the_same_files(
    start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    dead = start_worker(queue_depth=3)
    counts = {name: value for name, value in samples().items() if is_counter(name)}
    files = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    for _ in range(2):
        os.kill(dead.pid, signal.SIGKILL)
        dead.wait()
        dead = start_worker(queue_depth=4, slot=0)
    found = samples()
    assert found["http_requests_total route=/predict status=200"] == 6
    assert found["classifier_queue_depth model=tiny"] == 4
    assert {name for name, value in counts.items() if found[name] < value} == set()
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == files


def is_counter(name: str) -> bool:
    return name.partition(" ")[0].endswith(("_total", "_count", "_sum", "_bucket"))


def test_each_status_counts_its_workers(start_worker: Callable[..., Worker]) -> None:
    for status in ("ok", "ok", "loading"):
        start_worker(status=status)
    found = samples()
    counts = {status: found[f"service_workers status={status}"] for status in ("ok", "loading")}
    assert counts == {"ok": 2, "loading": 1}
    assert found["service_workers status=degraded"] == 0


def test_model_is_shown_while_any_worker_serves_it(start_worker: Callable[..., Worker]) -> None:
    start_worker(version="2")
    start_worker(version="3")
    shown = {
        name.rpartition("=")[2]: value
        for name, value in samples().items()
        if name.startswith("classifier_model_info ")
    }
    assert shown == {"1": 0, "2": 1, "3": 1}


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="cannot reserve room")
def test_room_for_all_metrics_is_reserved(
    start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    start_worker()
    files = {path.name.removesuffix("_0.db"): path.stat() for path in tmp_path.iterdir()}
    assert {kind: file.st_size for kind, file in files.items()} == ROOM
    assert all(file.st_blocks * 512 >= file.st_size for file in files.values())


MANY_MODELS = """
from service.observability.metric_files import share_metrics
from service.observability.metrics import Metrics
from service.observability.statistics import BatchTimes

share_metrics(0)
metrics = Metrics(["ok", "loading"])
for number in range(30):
    for status in (200, 400, 503):
        path = f"/models/{{model_name}}/versions/{{model_version}}/predict/{number}"
        metrics.count_request(path, status, 1)
for number in range(12):
    metrics.count_call(f"RepositoryModel{number}", "UNAVAILABLE", 1)
for number in range(20):
    name = f"a-model-of-our-own-{number}"
    for stage in ("receive", "queue", "decode", "infer", "respond"):
        metrics.observe_stage(name, stage, 0.001)
    for size in range(1, 33):
        metrics.observe_batch(name, size)
        metrics.count_batch(name, "1", BatchTimes(size, 1, 1, 1))
    for label in range(10):
        metrics.count_answer(name, f"label {label}", unfamiliar=True)
        metrics.count_rejection(f"reason-{label}", name)
    metrics.count_outcome(name, "1", 1, is_success=True)
    metrics.count_outcome(name, "1", 1, is_success=False)
    metrics.show_models([(name, "1", "model.int8.onnx", "0" * 64, "CPU" * 8, "CPU" * 8)])
    metrics.sample("ok", {name: 1}, 10)
"""


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="cannot reserve room")
def test_room_for_20_models_is_reserved(tmp_path: Path) -> None:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", MANY_MODELS], env=environment, check=True, timeout=60)
    sizes = {path.name.removesuffix("_0.db"): path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes == ROOM
