"""Several models by name: their answers, /models and /health, on real files and in one process."""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from starlette.testclient import TestClient

from service.http.app import create_app
from service.http.schemas import Health, ModelDocument, Models
from service.inference.model_server import ModelServer
from service.inference.snapshot import Snapshot
from service.settings import Settings
from tests.service.conftest import (
    FakeEngine,
    colour,
    fake_model,
    keep_busy,
    running,
    snapshot_of,
)
from tests.service.models import write_model

KEY = {"X-API-Key": "secret"}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Models `pets` in versions 2 and 10, and `birds`, whose classes are others, in version 1."""
    folder = tmp_path / "models"
    write_model(folder, "pets", 2)
    write_model(folder, "pets", 10)
    write_model(folder, "birds", 1, size=(4, 6), labels=["robin", "finch", "jay"])
    return folder


@contextmanager
def serving(models: Path, **settings: object) -> Iterator[TestClient]:
    """A service on a repository, whose default model is `pets` and which has an administrator."""
    given = {"models": models, "model": "pets", "provider": "cpu", "admin_keys": "secret"}
    validated = Settings.model_validate(given | settings)
    with TestClient(create_app(validated, ModelServer(validated)), headers=KEY) as client:
        while client.get("/health").json()["status"] == "loading":
            pass
        yield client


def answer(client: TestClient, path: str = "/predict") -> tuple[str, str, str]:
    """Which model and version answers, and its label."""
    document = client.post(path, content=colour("blue")).json()
    return document["model"], document["version"], document["predictions"][0]["label"]


def state(version: object, model: str = "pets") -> dict[str, Any]:
    """The fields of a model that is served, without those of its file."""
    cpu = "CPUExecutionProvider"
    served = {"variant": "model.onnx", "provider": cpu, "requested_provider": cpu, "status": "ok"}
    return {"model": model, "version": str(version), **served}


def states(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [{k: v for k, v in it.items() if k != "sha256"} for it in document["models"]]


def test_each_model_answers_by_its_name_and_version(models: Path) -> None:
    with serving(models, served="*,pets@all") as client:
        assert answer(client) == ("pets", "10", "blue")
        assert answer(client, "/models/pets/predict") == ("pets", "10", "blue")
        assert answer(client, "/models/pets/versions/2/predict") == ("pets", "2", "blue")
        assert answer(client, "/models/birds/predict") == ("birds", "1", "jay")
        files = [("files", colour("red")), ("files", colour("blue"))]
        for path in ("/models/birds/predict/batch", "/models/birds/versions/1/predict/batch"):
            document = client.post(path, files=files).json()
            assert (document["model"], document["version"]) == ("birds", "1")
            best = [result["predictions"][0]["label"] for result in document["results"]]
            assert best == ["robin", "jay"]
        inputs = client.get("/v2/models/birds").json()["inputs"]
        assert inputs[0]["shape"] == [-1, 4, 6, 3]
        assert client.get("/v2/models/pets").json()["versions"] == ["10", "2"]


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/models/cats", "no model 'cats'"),
        ("/models/pets/versions/2", "no version '2' of 'pets'"),
        ("/models/pets/versions/010", "no version '010' of 'pets'"),
    ],
)
def test_what_is_not_served_is_404(models: Path, path: str, word: str) -> None:
    with serving(models) as client:
        answers = [
            client.get(path),
            client.post(f"{path}/predict", content=colour("red")),
            client.post(f"{path}/predict/batch", files={"files": colour("red")}),
        ]
    assert [it.status_code for it in answers] == [404] * 3
    for it in answers:
        assert it.json()["type"] == "urn:cifar10-serve:problem:not-served"
        assert word in it.json()["detail"]


def test_models_are_listed_the_default_first(models: Path) -> None:
    with serving(models, served="*,pets@all") as client:
        document = client.get("/models").json()
        health = client.get("/health").json()
    Models.model_validate(document)
    assert document["default"] == "pets"
    assert states(document) == [state(10), state(2), state(1, "birds")]
    Health.model_validate(health)
    assert (health["status"], health["model"], health["version"]) == ("ok", "pets", "10")
    assert states(health) == [state(2), state(1, "birds")]


def test_card_is_the_verified_one_even_if_its_folder_is_gone(models: Path) -> None:
    written = json.loads((models / "pets/2/card.json").read_text())
    with serving(models, served="pets@all") as client:
        shutil.rmtree(models)
        newest = client.get("/models/pets").json()
        response = client.get("/models/pets/versions/2")
    ModelDocument.model_validate(response.json())
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert document["card"] == written
    assert {k: document[k] for k in state(2)} == state(2)
    assert document["versions"] == newest["versions"] == ["10", "2"]
    assert (newest["version"], newest["card"]["version"]) == ("10", 10)


def test_card_with_figures_that_are_no_numbers_is_json(models: Path) -> None:
    path = models / "pets/10/card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seeds": float("nan")}))
    with serving(models) as client:
        assert client.get("/models/pets").json()["card"]["seeds"] is None


def test_cards_need_a_key_where_there_are_keys(models: Path) -> None:
    with serving(models, api_keys="a-long-enough-key") as client:
        del client.headers["X-API-Key"]
        for path in ("/models", "/models/pets", "/models/pets/versions/10"):
            assert client.get(path).status_code == 401
            headers = {"Authorization": "Bearer a-long-enough-key"}
            assert client.get(path, headers=headers).status_code == 200


def test_model_that_cannot_be_loaded_degrades_the_service_and_says_why(models: Path) -> None:
    (models / "birds/1/model.onnx").write_bytes(b"damaged")
    with serving(models) as client:
        health = client.get("/health")
        refused = client.post("/models/birds/predict", content=colour("red"))
        index = client.post("/v2/repository/index").json()
        assert answer(client)[0] == "pets"
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    (birds,) = health.json()["models"]
    assert (birds["model"], birds["status"]) == ("birds", "failed")
    for text in (birds["reason"], health.json()["reason"], refused.json()["detail"]):
        assert "sha256" in text
    assert refused.status_code == 503
    assert (index[0]["name"], index[0]["state"]) == ("birds", "UNAVAILABLE")
    assert "sha256" in index[0]["reason"]


def test_failed_load_keeps_the_version_of_before_and_others_are_not_concerned(
    models: Path,
) -> None:
    with serving(models) as client:
        (write_model(models, "birds", 2) / "card.json").write_text("{}")
        failed = client.post("/v2/repository/models/birds/load")
        assert answer(client, "/models/birds/predict")[:2] == ("birds", "1")
        (birds,) = client.get("/health").json()["models"]
        assert (birds["version"], birds["status"]) == ("1", "degraded")
        shutil.rmtree(models / "birds/2")
        assert client.post("/v2/repository/models/birds/load").is_success
        assert client.get("/health").json()["status"] == "ok"
    assert failed.status_code == 409
    assert failed.json()["error"] == birds["reason"]


def test_load_says_how_a_version_differs_from_the_one_before(models: Path) -> None:
    with serving(models) as client:
        write_model(models, "birds", 2, size=(8, 8), labels=["robin", "finch", "crow"])
        response = client.post("/v2/repository/models/birds/load")
        assert answer(client, "/models/birds/predict") == ("birds", "2", "crow")
    assert response.json() == {
        "note": "Version 2 has other labels than 1. "
        "It takes pictures of 8 x 8 pixels, not of 6 x 4 as before."
    }


def test_unloaded_model_leaves_the_others(models: Path) -> None:
    with serving(models) as client:
        assert client.post("/v2/repository/models/birds/unload").is_success
        health = client.get("/health").json()
        assert health["status"] == "ok"
        assert health["models"] == [{"model": "birds", "status": "unloaded"}]
        assert client.get("/models/birds").status_code == 503
        assert client.post("/v2/repository/models/pets/unload").is_success
        health = client.get("/health").json()
        assert (health["status"], health["model"]) == ("unloaded", "pets")
        assert health["models"] == [{"model": "birds", "status": "unloaded"}]
        assert client.post("/v2/repository/models/birds/load").is_success
        assert answer(client, "/models/birds/predict")[0] == "birds"


def test_copied_folder_is_the_next_version(models: Path) -> None:
    with serving(models) as client:
        shutil.copytree(models / "pets/2", models / "pets/11")
        assert client.post("/v2/repository/models/pets/load").status_code == 200
        assert answer(client)[:2] == ("pets", "11")
        card = client.get("/models/pets").json()["card"]
        assert (card["name"], card["version"]) == ("pets", 2)  # as it was published
        assert client.get("/v2/models/pets/versions/11/ready").status_code == 200


def test_renamed_and_copied_models_have_the_names_of_their_folders(models: Path) -> None:
    shutil.copytree(models / "pets/2", models / "cats/7")
    (models / "birds").rename(models / "fowl")
    with serving(models) as client:
        assert answer(client, "/models/cats/predict") == ("cats", "7", "blue")
        assert answer(client, "/models/fowl/versions/1/predict") == ("fowl", "1", "jay")
        assert client.get("/v2/models/cats").json()["versions"] == ["7"]
        text = client.get("/metrics").text
    assert 'classifier_predictions_total{label="blue",model="cats"} 1.0' in text


def test_two_copies_of_one_version_are_two_versions(models: Path) -> None:
    shutil.copytree(models / "pets/2", models / "pets/3")
    with serving(models, served="pets@all") as client:
        listed = client.get("/models").json()["models"]
        for version in ("2", "3"):
            assert answer(client, f"/models/pets/versions/{version}/predict")[1] == version
    assert [it["version"] for it in listed] == ["10", "3", "2"]
    assert listed[1]["sha256"] == listed[2]["sha256"]


def test_version_that_is_removed_while_served_serves_until_the_next_load(models: Path) -> None:
    with serving(models) as client:
        shutil.rmtree(models / "pets/10")
        assert answer(client)[:2] == ("pets", "10")
        assert client.post("/v2/repository/models/pets/load").is_success
        assert answer(client)[:2] == ("pets", "2")


def test_model_that_is_removed_while_served_stays_as_it_cannot_be_read(models: Path) -> None:
    with serving(models) as client:
        shutil.rmtree(models / "birds")
        failed = client.post("/v2/repository/models/birds/load")
        assert (failed.status_code, "no model 'birds'" in failed.json()["error"]) == (409, True)
        assert answer(client, "/models/birds/predict")[:2] == ("birds", "1")


def test_empty_repository_is_not_ready_and_serves_once_there_is_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    with serving(folder) as client:
        refused, health = client.post("/predict", content=colour("red")), client.get("/health")
        assert (refused.status_code, health.status_code) == (503, 503)
        assert (health.json()["status"], health.json()["model"]) == ("failed", "pets")
        assert refused.json()["detail"] == health.json()["reason"]
        assert "no model 'pets'" in health.json()["reason"]
        assert client.get("/models").json() == {"default": "pets", "models": []}
        write_model(folder, "pets")
        assert client.post("/v2/repository/models/pets/load").is_success
        assert client.get("/health").json()["status"] == "ok"
        assert answer(client)[:2] == ("pets", "1")


def test_read_only_repository_reached_by_links_is_served(models: Path, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    first, second = mount / "..2026_11_27_1", mount / "..2026_11_27_2"
    mount.mkdir()
    shutil.copytree(models, first)
    (mount / "..data").symlink_to(first.name)
    for name in ("pets", "birds"):
        (mount / name).symlink_to(f"..data/{name}")
    shutil.copytree(models, second)
    shutil.copytree(models / "pets/2", second / "pets/11")
    for folder in (first, second):
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
    with serving(mount) as client:
        listed = [(it["model"], it["version"]) for it in client.get("/models").json()["models"]]
        assert listed == [("pets", "10"), ("birds", "1")]
        # Kubernetes replaces the link as a whole.
        (mount / "..new").symlink_to(second.name)
        (mount / "..new").replace(mount / "..data")
        assert client.post("/v2/repository/models/pets/load").is_success
        assert answer(client)[:2] == ("pets", "11")
    for folder in (first, second):  # so that it can be removed
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)


def test_log_names_the_model_also_of_a_refused_picture(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(models) as client, caplog.at_level(logging.INFO):
        client.post("/models/birds/predict", content=b"words")
        client.post("/models/birds/predict?top_k=9", content=colour("red"))
        client.post("/predict", content=colour("red"))
        client.post("/v2/models/birds/infer", content=b"{")
        client.post("/v1/models/birds:predict", json={})
        client.get("/v2/models/birds/stats")
    fields = [r.__dict__["fields"] for r in caplog.records if r.getMessage() == "request"]
    named = [(it["model"], it["model_version"]) for it in fields if it["path"] != "/health"]
    assert named == [("birds", 1), ("birds", 1), ("pets", 10), *[("birds", 1)] * 3]


def test_rejections_are_counted_by_the_models_that_are_served_and_by_no_other_name(
    models: Path,
) -> None:
    with serving(models) as client:
        for path in ("/predict", "/models/birds/predict", "/models/birds/predict/batch"):
            client.post(path, content=b"words")
        files = [("files", b"words"), ("files", colour("red"))]
        client.post("/models/pets/versions/10/predict/batch", files=files)
        client.post("/v2/models/birds/infer", content=b"{")
        client.post("/v1/models/birds:predict", json={})
        for name in ("cats", "dogs"):
            client.post(f"/models/{name}/predict", content=colour("red"))
            client.post(f"/v2/models/{name}/infer", content=b"{")
        lines = client.get("/metrics").text.splitlines()
    name = "classifier_rejections_total"
    assert {line for line in lines if line.startswith(name)} == {
        name + '{model="pets",reason="unsupported-format"} 2.0',
        name + '{model="birds",reason="unsupported-format"} 1.0',
        name + '{model="birds",reason="missing-field"} 1.0',
        name + '{model="birds",reason="invalid-inference-request"} 2.0',
        name + '{model="",reason="not-served"} 4.0',
    }
    stages = [line for line in lines if line.startswith("classifier_stage_seconds_count")]
    assert all('model="pets"' in line or 'model="birds"' in line for line in stages)


def test_classes_of_the_named_model_bound_top_k(models: Path) -> None:
    write_model(models, "cats", labels=["cat", "no cat", "kitten"])
    with serving(models) as client:
        refused = client.post("/models/cats/predict?top_k=4", content=colour("red"))
        assert (refused.status_code, "3 classes" in refused.json()["detail"]) == (422, True)


@pytest.mark.anyio
async def test_full_queue_of_one_model_leaves_the_others_theirs(tmp_path: Path) -> None:
    settings = Settings.model_validate({"threads": 1, "max_queue": 2})
    engines = {name: FakeEngine() for name in ("slow", "quick")}
    models = [fake_model(engine, settings, name=name) for name, engine in engines.items()]

    def build(*_arguments: object) -> Snapshot:
        return snapshot_of(*models)

    app: FastAPI = create_app(settings, ModelServer(settings, build), tmp_path)
    client = AsyncClient(transport=ASGITransport(app), base_url="http://x")
    async with running(app) as model_server, client:
        await keep_busy(model_server, engines["slow"])
        waiting = model_server.submit(model_server.find("slow"), [colour("red")] * 2)
        for path in ("/predict", "/models/slow/predict", "/models/slow/versions/1/predict"):
            assert (await client.post(path, content=colour("red"))).status_code == 503
        # It waits for the one thread, and has a place in a queue of its own.
        headers = {"X-Request-Timeout-Ms": "50"}
        late = await client.post("/models/quick/predict", content=colour("red"), headers=headers)
        text = (await client.get("/metrics")).text
        engines["slow"].go.set()
        await waiting[-1]
        served = await client.post("/models/quick/predict", content=colour("red"))
    assert (late.status_code, served.status_code) == (504, 200)
    assert 'classifier_queue_depth{model="slow"} 2.0' in text
    assert 'classifier_queue_depth{model="quick"} 0.0' in text
