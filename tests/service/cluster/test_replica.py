"""What a replica is made of, without an engine's package."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.cluster.replica import Exporter, OmitRequestId, refuse_change, replica_settings
from service.observability.metrics import Metrics
from tests.service.models import write_model


@pytest.mark.parametrize(
    ("resources", "threads", "provider"),
    [
        ({}, 1, "cpu"),
        ({"CPU": 0.5}, 1, "cpu"),
        ({"CPU": 3.0}, 3, "cpu"),
        ({"CPU": 1.0, "GPU": 0.25}, 1, "cuda"),
    ],
)
def test_settings_follow_what_the_engine_gives(
    tmp_path: Path, resources: dict[str, float], threads: int, provider: str
) -> None:
    settings = replica_settings(resources, tmp_path)
    assert (settings.threads, settings.provider) == (threads, provider)


def test_settings_of_the_environment_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR10_THREADS", "5")
    monkeypatch.setenv("CIFAR10_PROVIDER", "cpu")
    monkeypatch.setenv("CIFAR10_MAX_QUEUE", "7")
    settings = replica_settings({"CPU": 1.0, "GPU": 1.0}, tmp_path)
    assert (settings.threads, settings.provider, settings.max_queue) == (5, "cpu", 7)


def test_replica_is_one_worker_and_has_all_of_the_waiting_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR10_WORKERS", "8")
    settings = replica_settings({}, tmp_path)
    assert settings.worker_count == 1
    assert settings.pending_bytes_per_worker == settings.max_pending_bytes


def test_folder_of_models_is_used_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR10_MODELS", str(tmp_path / "models"))
    assert replica_settings({}, tmp_path / "copy").models == tmp_path / "models"
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("end", ["", "/"])
def test_models_at_an_address_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    version = write_model(tmp_path / "models")
    store = fsspec.filesystem("memory")
    store.put(str(tmp_path / "models"), f"/bucket{end and 2}", recursive=True)
    monkeypatch.setenv("CIFAR10_MODELS", f"memory://bucket{end and 2}{end}")
    models = replica_settings({}, tmp_path / "copy").models
    assert models == tmp_path / "copy"
    for file in ("card.json", "model.onnx"):
        assert (models / "tiny" / "1" / file).read_bytes() == (version / file).read_bytes()


def test_address_without_models_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR10_MODELS", "memory://nowhere")
    with pytest.raises(FileNotFoundError):
        replica_settings({}, tmp_path / "copy")


def test_models_cannot_be_changed_in_one_replica(make_client: Callable[..., TestClient]) -> None:
    client = make_client(admin_keys="root", models=Path("models"), model="cifar10")
    app = client.app
    assert isinstance(app, FastAPI)
    app.state.administer = refuse_change
    for action in ("load", "unload"):
        answer = client.post(
            f"/v2/repository/models/cifar10/{action}", headers={"X-API-Key": "root"}
        )
        assert answer.status_code == 409
        assert "all replicas" in answer.json()["error"]


def test_request_id_is_left_to_the_proxy_and_used(make_app: Callable[..., FastAPI]) -> None:
    app = make_app()
    app.add_middleware(OmitRequestId)
    with TestClient(app) as client:
        answer = client.get("/nope", headers={"X-Request-ID": "order-66"})
    assert "x-request-id" not in answer.headers
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == "order-66"


class FakeGauge:
    """Keeps the values by their labels."""

    made: dict[str, "FakeGauge"]

    def __init__(self, name: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.tag_keys = name, tag_keys
        self.values: dict[tuple[str, ...], float] = {}

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert tuple(tags) == self.tag_keys
        self.values[tuple(tags.values())] = value


def test_metrics_are_exported_under_their_names_and_labels() -> None:
    gauges: dict[str, FakeGauge] = {}

    def make_gauge(name: str, **options: Any) -> FakeGauge:  # noqa: ANN401
        assert name not in gauges
        gauges[name] = FakeGauge(name, **options)
        return gauges[name]

    metrics, exporter = Metrics(["ok", "failed"]), Exporter(make_gauge)
    metrics.count_request("/predict", 200, 0.3)
    exporter.export(metrics.samples())
    metrics.count_request("/predict", 200, 0.7)
    metrics.count_request("/predict", 503, 0.0)
    exporter.export(metrics.samples())
    assert gauges["http_requests_total"].values == {("/predict", "200"): 2, ("/predict", "503"): 1}
    buckets = gauges["http_request_seconds_bucket"]
    assert buckets.tag_keys == ("route", "le")
    assert [buckets.values["/predict", le] for le in ("0.25", "0.5", "1.0", "+Inf")] == [1, 2, 3, 3]
    assert gauges["http_request_seconds_sum"].values == {("/predict",): 1.0}
    assert [name for name in gauges if "created" in name] == []
