"""What KEDA learns of the service, from a real Prometheus."""

import time
from pathlib import Path

import pytest

from tests.deployment.manifests import compose, of_kind
from tests.e2e.load import Load
from tests.e2e.prometheus import installed, watching
from tests.e2e.serving import running
from tests.service.conftest import colour
from tests.service.models import write_model

WAIT_S = 60


@pytest.mark.skipif(not installed, reason="Prometheus is not installed")
def test_query_is_one_number_that_grows_with_the_queue(tmp_path: Path) -> None:
    """It is one of all models, at rest and under load."""
    folder, models, watch = (tmp_path / name for name in ("manifests", "models", "watch"))
    folder.mkdir()
    watch.mkdir()
    (scaler,) = of_kind(compose(folder, "cpu", ["autoscaling-queue"]), "ScaledObject")
    (query,) = [
        trigger["metadata"]["query"]
        for trigger in scaler["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    ]
    for name in ("tiny", "other"):
        write_model(models, name)
    settings = {"MODELS": str(models), "MODEL": "tiny", "WORKERS": "1", "THREADS": "1"}
    variables = {f"CIFAR10_{name}": value for name, value in settings.items()}
    with (
        running(**variables) as server,
        watching(server.url, watch, interval="250ms") as prometheus,
    ):
        deadline = time.monotonic() + WAIT_S
        while len(prometheus.values("classifier_queue_depth")) != 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        while not (values := prometheus.values(query)):  # a busy machine did not answer in time
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert values == [0]
        with Load(server.url, colour("red"), clients=32):
            waiting = 0.0
            while not waiting:
                assert time.monotonic() < deadline
                time.sleep(0.1)
                values = prometheus.values(query)
                assert len(values) <= 1  # none while a busy machine does not answer in time
                waiting = sum(values)
    assert 0 < waiting <= 32
