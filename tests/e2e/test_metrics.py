"""GET /metrics of a server with several workers: any of them answers for all."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e import web
from tests.e2e.conftest import Server
from tests.e2e.load import Load, wait_until
from tests.service.conftest import colour
from tests.service.models import write_model

PICTURES = 30
SCRAPES = 10
WAIT_S = 60
# Of workers; there are as many changes of the model. `make torture` has more.
KILLS = 50 if os.environ.get("TORTURE") else 5
SCRAPE_S = 0.1
ADMIN = {"X-API-Key": "secret"}

Metrics = dict[str, float]


@pytest.fixture(scope="module")
def server_of_two(
    server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    models = tmp_path_factory.mktemp("models")
    write_model(models, energy_threshold=1.5)  # a black picture is unfamiliar
    running = server(models=models, model="tiny", workers=2)
    wait_for(running, "service_workers{status=ok}", 2)
    for number in range(PICTURES):  # each by a connection of its own, which picks a worker
        picture = colour("red" if number % 3 else "black")
        assert web.post(f"{running.url}/predict", content=picture).status_code == 200
    # Each worker writes what it has counted every second.
    wait_for(running, "http_requests_total{route=/predict}{status=200}", PICTURES)
    return running


@pytest.fixture(scope="module")
def scrapes(server_of_two: Server) -> list[Metrics]:
    return [scrape(server_of_two) for _ in range(SCRAPES)]


def scrape(server: Server) -> Metrics:
    """What one of the workers exports, by names such as `service_workers{status=ok}`."""
    text = web.get(f"{server.url}/metrics").raise_for_status().text
    return {
        sample.name
        + "".join(f"{{{k}={v}}}" for k, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def wait_for(server: Server, name: str, value: float) -> Metrics:
    deadline = time.monotonic() + WAIT_S
    while (found := scrape(server)).get(name) != value:
        assert time.monotonic() < deadline, (name, found)
        time.sleep(0.1)
    return found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("http_requests_total{route=/predict}{status=200}", PICTURES),
        ("http_request_seconds_count{route=/predict}", PICTURES),
        *(
            (f"classifier_stage_seconds_count{{model=tiny}}{{stage={stage}}}", PICTURES)
            for stage in ("receive", "queue", "decode", "infer", "respond")
        ),
        ("classifier_batch_size_sum{model=tiny}", PICTURES),
        ("classifier_predictions_total{label=red}{model=tiny}", PICTURES),
        ("classifier_unfamiliar_total{model=tiny}", PICTURES / 3),
        ("classifier_queue_depth{model=tiny}", 0),
        ("service_workers{status=ok}", 2),
        ("service_workers{status=loading}", 0),
        ("service_worker_restarts_total", 0),
    ],
)
def test_each_worker_exports_the_sum_of_both(
    scrapes: list[Metrics], name: str, value: float
) -> None:
    assert {metrics[name] for metrics in scrapes} == {value}


def test_model_is_an_info_with_its_version_and_provider(scrapes: list[Metrics]) -> None:
    (info,) = (name for name in scrapes[0] if name.startswith("classifier_model_info"))
    assert "{model=tiny}{provider=CPUExecutionProvider}" in info
    assert "{version=1}" in info
    assert scrapes[0][info] == 1


def test_killed_worker_is_replaced_and_its_counts_stay(server_of_two: Server) -> None:
    workers = workers_of(server_of_two)
    assert len(workers) == 2
    memory = scrape(server_of_two)["process_resident_memory_bytes"]
    workers[0].kill()
    wait_for(server_of_two, "service_worker_restarts_total", 1)
    now = wait_for(server_of_two, "service_workers{status=ok}", 2)
    assert now["classifier_predictions_total{label=red}{model=tiny}"] == PICTURES
    # Of two workers, not of three.
    assert now["process_resident_memory_bytes"] == pytest.approx(memory, rel=0.3)


@dataclass
class Counters:
    """Scrapes a server over and over, as a context manager, and notes what falls."""

    server: Server
    scrapes: int = 0
    values: Metrics = field(default_factory=dict)
    fallen: list[tuple[str, float, float | None]] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Counters":
        self._thread = threading.Thread(target=self._scrape_all)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _scrape_all(self) -> None:
        while not self._ended.wait(SCRAPE_S):
            try:
                answer = web.get(f"{self.server.url}/metrics", timeout=30)
            except httpx2.TransportError:  # by a worker that was killed
                continue
            self._compare(answer.raise_for_status().text)

    def _compare(self, text: str) -> None:
        now = {
            f"{sample.name} {sorted(sample.labels.items())}": sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if family.type in ("counter", "histogram")
        }
        for name, value in self.values.items():
            if now.get(name, -1) < value:
                self.fallen.append((name, value, now.get(name)))
        self.scrapes += 1
        self.values = now


def workers_of(server: Server) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


def files_of(server: Server) -> dict[str, int]:
    """The files of all metrics, and their sizes."""
    (folder,) = {
        Path(file.path).parent
        for worker in workers_of(server)
        for file in worker.open_files()
        if file.path.endswith(".db")
    }
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def test_no_counter_falls_and_no_file_grows_through_kills_and_changes(
    server: Callable[..., Server], tmp_path: Path
) -> None:
    write_model(tmp_path)
    settings = {"models": tmp_path, "model": "tiny", "admin_keys": "secret", "api_keys": "key"}
    with server(**settings, workers=4, metrics_open=True) as running:
        wait_for(running, "service_workers{status=ok}", 4)
        files = files_of(running)
        with Load(running.url, colour("red"), headers=ADMIN) as load, Counters(running) as counters:
            for number in range(KILLS):
                load.wait_for(10)
                workers = workers_of(running)
                workers[number % len(workers)].kill()
                write_model(tmp_path, version=number + 2)
                # A worker that dies ends a change that it takes part in.
                wait_until(lambda: change(running))
                wait_until(lambda: scrape(running)["service_workers{status=ok}"] >= 2)
            wait_for(running, "service_workers{status=ok}", 4)
        assert counters.fallen == []
        assert counters.scrapes > KILLS
        # One that is killed early has not counted itself.
        assert 0 < scrape(running)["service_worker_restarts_total"] <= KILLS
        assert files_of(running) == files


def change(server: Server) -> bool:
    """Loads the newest version; returns whether that was done."""
    try:
        answer = web.post(f"{server.url}/v2/repository/models/tiny/load", headers=ADMIN, timeout=60)
    except httpx2.TransportError:  # the worker was killed
        return False
    return answer.status_code == 200
