"""The V1 protocol of TensorFlow Serving and KServe, around a fake engine."""

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from service.http.schemas_v1 import InstancesResponse
from tests.service.conftest import FakeEngine, colour, encode
from tests.service.http.routes.test_v2 import error, pixels

MakeClient = Callable[..., TestClient]
PREDICT = "/v1/models/tiny:predict"
RED = pixels("red")[0].tolist()


def b64(file: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(file).decode()}


def predict(client: TestClient, *instances: object, path: str = PREDICT) -> list[dict[str, Any]]:
    response = client.post(path, json={"instances": instances})
    assert response.status_code == 200, response.text
    predictions: list[dict[str, Any]] = response.json()["predictions"]
    return predictions


def test_models_are_listed(client: TestClient) -> None:
    assert client.get("/v1/models").json() == {"models": ["tiny"]}


@pytest.mark.parametrize("path", ["/v1/models/tiny", "/v1/models/tiny/versions/1"])
def test_status_is_for_clients_of_both_servers(client: TestClient, path: str) -> None:
    available = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert client.get(path).json() == {
        "name": "tiny",
        "ready": True,
        "model_version_status": [{"version": "1", **available}],
    }


@pytest.mark.parametrize("path", [PREDICT, "/v1/models/tiny/versions/1:predict"])
def test_answer_is_that_of_predict(client: TestClient, path: str) -> None:
    file = encode(Image.new("RGB", (40, 30), "teal"), "JPEG")
    expected = client.post("/predict", content=file).json()
    (found,) = predict(client, b64(file), path=path)
    assert InstancesResponse.model_validate({"predictions": [found]})
    best = expected["predictions"][0]
    assert (found["label"], found["class_id"]) == (best["label"], best["class_id"])
    assert found["unfamiliar"] == expected["unfamiliar"]
    assert {p["class_id"]: p["probability"] for p in expected["predictions"]} == pytest.approx(
        dict(enumerate(found["probabilities"])), abs=1e-6
    )


def test_every_form_of_an_instance_gives_the_same_answer(client: TestClient) -> None:
    file = b64(encode(Image.fromarray(np.array(RED, np.uint8))))
    answers = predict(client, file, {"image": file}, RED, {"image": RED})
    assert answers == [answers[0]] * 4
    assert answers[0]["label"] == "red"


def test_instances_are_answered_in_order(client: TestClient) -> None:
    blue = pixels("blue")[0].tolist()
    found = predict(client, b64(colour("green")), RED, b64(colour("blue")), blue)
    assert [it["label"] for it in found] == ["green", "red", "blue", "blue"]


def test_other_keys_mean_nothing(client: TestClient) -> None:
    request = {"instances": [RED], "signature_name": "serving_default"}
    assert client.post(PREDICT, json=request).status_code == 200


@pytest.mark.parametrize(
    ("instance", "sentence"),
    [
        ("QUJD", "An instance is"),
        (7, "An instance is"),
        (None, "An instance is"),
        ({}, "An instance is"),
        ({"b64": 7}, "An instance is"),
        ({"b64": RED}, "An instance is"),
        ({"b64": "QUJD", "image": RED}, "An instance is"),
        ({"image": {"image": RED}}, "An instance is"),
        ({"image": "QUJD"}, "An instance is"),
        ({"b64": "?"}, "not base64"),
        ([], "8 rows of 8 pixels"),
        (RED[:7], "8 rows of 8 pixels"),
        ([0] * 192, "8 rows of 8 pixels"),
        ([RED], "8 rows of 8 pixels"),
        ([[0] * 8] * 8, "from 0 to 255"),
        ([[[0.5] * 3] * 8] * 8, "from 0 to 255"),
        ([[[256] * 3] * 8] * 8, "from 0 to 255"),
        ([[[0] * 4] * 8] * 8, "from 0 to 255"),
    ],
)
def test_instance_that_is_no_picture_is_400(
    common_client: TestClient, instance: object, sentence: str
) -> None:
    assert sentence in error(common_client.post(PREDICT, json={"instances": [RED, instance]}), 400)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty"),
        (b"{", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b"{}", "instances: Field required"),
        (b'{"inputs": [1]}', "instances: Field required"),
        (b'{"instances": []}', "at least 1 item"),
        (b'{"instances": 7}', "valid array"),
    ],
)
def test_body_that_is_no_request_is_400(client: TestClient, content: bytes, sentence: str) -> None:
    assert sentence in error(client.post(PREDICT, content=content), 400)


def test_file_that_is_no_picture_fails_the_request(client: TestClient) -> None:
    instances = [RED, b64(b"no picture")]
    assert "not a picture" in error(client.post(PREDICT, json={"instances": instances}), 415)


def test_too_many_instances_are_413(make_client: MakeClient) -> None:
    client = make_client(max_files=2)
    assert "2" in error(client.post(PREDICT, json={"instances": [RED] * 3}), 413)
    assert len(predict(client, RED, RED)) == 2


def test_long_pictures_are_answered_and_long_numbers_are_413(client: TestClient) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    file = encode(Image.fromarray(noise))
    assert len(file) > 1_400_000
    assert len(predict(client, b64(file), b64(file))) == 2
    assert "5,000,000" in error(client.post(PREDICT, json={"instances": [b64(file)] * 3}), 413)
    assert "150,000" in error(client.post(PREDICT, json={"instances": [RED] * 300}), 413)


def test_compressed_request_is_answered(client: TestClient) -> None:
    content = gzip.compress(json.dumps({"instances": [RED]}).encode())
    response = client.post(PREDICT, content=content, headers={"Content-Encoding": "gzip"})
    assert response.json()["predictions"][0]["label"] == "red"


@pytest.mark.parametrize("path", ["/v1/models/huge", "/v1/models/tiny/versions/2"])
def test_other_model_or_version_is_404(client: TestClient, path: str) -> None:
    named = path.rpartition("/")[2]
    for response in (client.get(path), client.post(f"{path}:predict", json={"instances": [RED]})):
        assert repr(named) in error(response, 404)


def test_model_that_cannot_answer_is_503(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    app.state.model_server.draining = True
    assert "shutting down" in error(client.get("/v1/models/tiny"), 503)
    app.state.model_server.snapshot = None
    assert client.get("/v1/models").json() == {"models": []}


def test_missed_deadline_is_504(client: TestClient, engine: FakeEngine) -> None:
    engine.go.clear()
    headers = {"X-Request-Timeout-Ms": "20"}
    error(client.post(PREDICT, json={"instances": [RED]}, headers=headers), 504)
    engine.go.set()


@pytest.mark.parametrize("verb", ["classify", "regress", "explain"])
def test_what_is_not_offered_is_said(client: TestClient, verb: str) -> None:
    response = client.post(f"/v1/models/tiny:{verb}", json={})
    assert "Only :predict is offered" in error(response, 405)
    assert "/v2/models" in error(client.get("/v1/models/tiny/metadata"), 404)


def test_keys_are_needed(make_client: MakeClient) -> None:
    client = make_client(api_keys="secret")
    for response in (
        client.get("/v1/models"),
        client.get("/v1/models/tiny"),
        client.post(PREDICT, json={"instances": [RED]}),
    ):
        error(response, 401)
