"""GET /metrics of a server with two workers: any of them answers for both."""

import time
from collections.abc import Callable

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e import web
from tests.e2e.conftest import Server
from tests.service.conftest import colour
from tests.service.models import write_model

PICTURES = 30
SCRAPES = 10
WAIT_S = 60

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
            (f"classifier_stage_seconds_count{{stage={stage}}}", PICTURES)
            for stage in ("receive", "queue", "decode", "infer", "respond")
        ),
        ("classifier_batch_size_sum", PICTURES),
        ("classifier_predictions_total{label=red}", PICTURES),
        ("classifier_unfamiliar_total", PICTURES / 3),
        ("classifier_queue_depth", 0),
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
    workers = psutil.Process(server_of_two.process.pid).children()
    assert len(workers) == 2
    memory = scrape(server_of_two)["process_resident_memory_bytes"]
    workers[0].kill()
    wait_for(server_of_two, "service_worker_restarts_total", 1)
    now = wait_for(server_of_two, "service_workers{status=ok}", 2)
    assert now["classifier_predictions_total{label=red}"] == PICTURES
    # Of two workers, not of three.
    assert now["process_resident_memory_bytes"] == pytest.approx(memory, rel=0.3)
