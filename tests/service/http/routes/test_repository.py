"""The model repository extension, on real files and in one process."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.http.app import create_app
from service.inference.model_server import ModelServer
from service.settings import Settings
from tests.service.conftest import FakeEngine, colour
from tests.service.models import write_model

KEY = {"X-API-Key": "secret"}
LOAD, UNLOAD = "/v2/repository/models/tiny/load", "/v2/repository/models/tiny/unload"


@pytest.fixture
def client(tiny_models: Path) -> Iterator[TestClient]:
    """A service on version 1 of the tiny model, which has an administrator."""
    given = {"models": tiny_models, "model": "tiny", "provider": "cpu", "admin_keys": "secret"}
    settings = Settings.model_validate(given)
    app = create_app(settings, ModelServer(settings))
    with TestClient(app, headers=KEY) as client:
        while client.get("/health/ready").status_code != 200:
            pass
        yield client


def version(client: TestClient) -> str:
    answer: dict[str, Any] = client.post("/predict", content=colour("red")).json()
    return str(answer["version"])


def test_index_lists_every_version_and_says_which_serves(
    client: TestClient, tiny_models: Path
) -> None:
    write_model(tiny_models, version=10)
    write_model(tiny_models, name="other")
    index = client.post("/v2/repository/index").json()
    assert index == [
        {"name": "other", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
        {"name": "tiny", "version": "1", "state": "READY"},
        {"name": "tiny", "version": "10", "state": "UNAVAILABLE", "reason": "unloaded"},
    ]
    ready = client.post("/v2/repository/index", json={"ready": True}).json()
    assert ready == [{"name": "tiny", "version": "1", "state": "READY"}]


def test_load_serves_the_newest(client: TestClient, tiny_models: Path) -> None:
    write_model(tiny_models, version=2)
    assert version(client) == "1"
    response = client.post(LOAD)
    assert (response.status_code, response.content) == (200, b"")
    assert version(client) == "2"
    assert client.get("/health").json()["version"] == "2"
    metrics = client.get("/metrics").text
    assert 'version="1"} 0.0' in metrics
    assert 'version="2"} 1.0' in metrics


def test_bad_version_leaves_the_old_one_serving_and_says_why(
    client: TestClient, tiny_models: Path
) -> None:
    folder = write_model(tiny_models, version=2)
    (folder / "model.onnx").write_bytes(b"damaged")
    response = client.post(LOAD)
    assert response.status_code == 409
    assert "sha256" in response.json()["error"]
    assert version(client) == "1"


def test_unloaded_model_is_503_until_it_is_loaded_again(client: TestClient) -> None:
    assert client.post(UNLOAD, json={"parameters": {"unload_dependents": False}}).is_success
    health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "unloaded")
    assert client.get("/health/live").status_code == 200
    assert client.get("/v2/models/tiny/ready").status_code == 503
    refused = client.post("/predict", content=colour("red"))
    assert refused.status_code == 503
    assert "unloaded" in refused.json()["detail"]
    assert client.post("/v2/repository/index", json={"ready": True}).json() == []
    assert client.post(LOAD).is_success
    assert version(client) == "1"


def test_other_model_is_404(client: TestClient) -> None:
    for path in (LOAD, UNLOAD):
        response = client.post(path.replace("tiny", "huge"))
        assert response.status_code == 404
        assert "'tiny'" in response.json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        (LOAD, {"parameters": {"config": "{}"}}, "no parameters"),
        (LOAD, {"parameters": {"file:1/model.onnx": "AAAA"}}, "no parameters"),
        (LOAD, [1], "object"),
        (UNLOAD, {"parameters": 1}, "parameters"),
        ("/v2/repository/index", {"ready": "maybe"}, "ready"),
    ],
)
def test_odd_body_is_400(client: TestClient, path: str, body: object, word: str) -> None:
    response = client.post(path, json=body)
    assert response.status_code == 400
    assert word in response.json()["error"]


@pytest.mark.parametrize("path", [LOAD, UNLOAD, "/v2/repository/index"])
def test_administration_needs_its_key(client: TestClient, path: str) -> None:
    del client.headers["X-API-Key"]
    assert client.post(path).status_code == 401
    assert client.post(path, headers={"X-API-Key": "guess"}).status_code == 401


def test_without_a_key_there_is_no_administration(
    make_client: Callable[..., TestClient], engine: FakeEngine
) -> None:
    response = make_client().post(LOAD)
    assert response.status_code == 403
    assert "CIFAR10_ADMIN_KEYS" in response.json()["error"]
    assert engine.batches == []


def test_repository_that_cannot_be_read_is_no_bug(client: TestClient, tiny_models: Path) -> None:
    moved = tiny_models.rename(tiny_models.with_name(f"{tiny_models.name}-moved"))
    tiny_models.symlink_to(tiny_models.name)
    try:
        paths = ("/v2/repository/index", LOAD, LOAD.replace("tiny", "other"))
        answers = [client.post(path) for path in paths]
        assert version(client) == "1"
    finally:
        tiny_models.unlink()
        moved.rename(tiny_models)
    assert [answer.status_code for answer in answers] == [503, 409, 409]
    for answer in answers:
        assert "cannot be read: Too many levels of symbolic links" in answer.json()["error"]


def test_repository_that_hangs_is_503_and_delays_nothing_else(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = threading.Event()
    monkeypatch.setattr("service.v2.repository.list_models", lambda _settings: drive.wait())
    monkeypatch.setattr("service.v2.repository.LIST_S", 1)
    large = colour("red") + bytes(1_500_000)  # is joined in a thread
    with ThreadPoolExecutor(40) as executor:
        # As many as asyncio's own threads, which it has at most.
        hanging = [executor.submit(client.post, "/v2/repository/index") for _ in range(32)]
        try:
            others = [
                executor.submit(client.get, "/metrics"),
                executor.submit(client.post, "/predict", files={"file": ("red.png", large)}),
            ]
            assert [other.result(10).status_code for other in others] == [200, 200]
            answers = [request.result(10) for request in hanging]
        finally:
            drive.set()
    assert {answer.status_code for answer in answers} == {503}
    assert "does not answer" in answers[0].json()["error"]
    assert client.post("/v2/repository/index", json={"ready": True}).is_success
