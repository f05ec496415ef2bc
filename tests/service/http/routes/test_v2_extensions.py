"""The extensions of the Open Inference Protocol that Triton has too, around a fake engine."""

import base64
import gzip
import json
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from service.http.app import create_app
from service.http.parameters import HEADER_LENGTH
from service.inference.classifier import Observer
from service.inference.model_server import ModelServer
from service.inference.snapshot import LoadedModel, Snapshot
from service.settings import Settings
from tests.service.conftest import FakeEngine, colour, encode, fake_model
from tests.service.http.routes.test_v2 import INFER, RED, binary, error, outputs, pixels, tensor

MakeClient = Callable[..., TestClient]

FILES = [colour("red"), encode(Image.new("RGB", (640, 480), "blue"), "JPEG")]


def classes(count: int, **parameters: object) -> dict[str, Any]:
    return {"name": "probabilities", "parameters": {"classification": count, **parameters}}


def test_classes_come_as_probability_id_and_label(client: TestClient) -> None:
    request = tensor(pixels("red", "blue")) | {"outputs": [classes(2), {"name": "energy"}]}
    found, energy = client.post(INFER, json=request).json()["outputs"]
    assert (found["datatype"], found["shape"]) == ("BYTES", [2, 2])
    assert energy["datatype"] == "FP32"
    expected = outputs(client.post(INFER, json=tensor(pixels("red", "blue"))))["probabilities"]
    assert found["data"] == [
        f"{expected[0, 0]:f}:0:red",
        f"{expected[0, 1]:f}:1:green",
        f"{expected[1, 2]:f}:2:blue",
        f"{expected[1, 0]:f}:0:red",
    ]


def test_classes_as_binary_data_have_their_lengths_before_them(client: TestClient) -> None:
    wanted = {"outputs": [classes(1, binary_data=True)]}
    response = client.post(INFER, json=tensor(RED) | wanted)
    text = client.post(INFER, json=tensor(RED) | {"outputs": [classes(1)]}).json()
    (expected,) = text["outputs"][0]["data"]
    length = int(response.headers[HEADER_LENGTH])
    (found,) = json.loads(response.content[:length])["outputs"]
    assert found["parameters"] == {"binary_data_size": 4 + len(expected)}
    assert response.content[length:] == len(expected).to_bytes(4, "little") + expected.encode()


@pytest.mark.parametrize(("count", "shape"), [(3, [1, 3]), (1000, [1, 3])])
def test_there_are_no_more_classes_than_the_model_has(
    client: TestClient, count: int, shape: list[int]
) -> None:
    response = client.post(INFER, json=tensor(RED) | {"outputs": [classes(count)]})
    assert response.json()["outputs"][0]["shape"] == shape


def test_no_classes_are_numbers(client: TestClient) -> None:
    assert outputs(client.post(INFER, json=tensor(RED) | {"outputs": [classes(0)]}))


def files_in_json(*files: bytes, **changes: object) -> dict[str, Any]:
    data = [base64.b64encode(file).decode() for file in files]
    image = {"name": "image", "datatype": "BYTES", "shape": [len(files)], "data": data}
    return {"inputs": [image | changes]}


def elements(*files: bytes) -> bytes:
    return b"".join(len(file).to_bytes(4, "little") + file for file in files)


def files_as_binary(tail: bytes, count: int) -> dict[str, Any]:
    """An inference request with encoded pictures as binary data: the arguments of a post."""
    parameters = {"binary_data_size": len(tail)}
    image = {"name": "image", "datatype": "BYTES", "shape": [count], "parameters": parameters}
    text = json.dumps({"inputs": [image]}).encode()
    return {"content": text + tail, "headers": {HEADER_LENGTH: str(len(text))}}


def test_encoded_pictures_are_answered_as_by_predict(client: TestClient) -> None:
    expected = [
        client.post("/predict?top_k=1", content=file).json()["predictions"][0] for file in FILES
    ]
    answers = [
        client.post(INFER, json=files_in_json(*FILES)),
        client.post(INFER, **files_as_binary(elements(*FILES), 2)),
    ]
    for response in answers:
        found = outputs(response)["probabilities"]
        for row, prediction in zip(found, expected, strict=True):
            assert row.argmax() == prediction["class_id"]
            assert row.max() == pytest.approx(prediction["probability"], abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        ({"shape": [1]}, 400, "1 pictures in base64"),
        ({"shape": [2, 8, 8, 3]}, 400, "[pictures]"),
        ({"shape": []}, 400, "[pictures]"),
        ({"data": ["?", "!"]}, 400, "not base64"),
        ({"data": ["QUJD\n", "QUJD"]}, 400, "not base64"),
        ({"data": ["QQ==QUJD" * 30_000, ""]}, 400, "not base64"),
        ({"data": ["QUJD" * 30_000 + "QQ==" * 100_000, ""]}, 400, "not base64"),
        ({"data": [1, 2]}, 400, "2 pictures in base64"),
        ({"data": ["", ""]}, 400, "empty"),
        ({"data": ["QUJD", "QUJD"]}, 415, "not a picture"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    client: TestClient, changes: dict[str, Any], status: int, sentence: str
) -> None:
    response = client.post(INFER, json=files_in_json(*FILES, **changes))
    assert sentence in error(response, status)


@pytest.mark.parametrize(
    "tail",
    [
        elements(*FILES)[:-1],
        elements(*FILES) + b"x",
        elements(*FILES, b"x"),
        elements(FILES[0]),
        b"",
        b"\xff\xff\xff\xffx",
        b"\0\0",
    ],
)
def test_elements_that_do_not_add_up_are_400(client: TestClient, tail: bytes) -> None:
    sentence = error(client.post(INFER, **files_as_binary(tail, 2)), 400)
    assert "2 elements of BYTES" in sentence


def test_broken_file_is_422(client: TestClient) -> None:
    whole = encode(Image.effect_noise((64, 64), 50), "JPEG")
    response = client.post(INFER, **files_as_binary(elements(whole[:800]), 1))
    error(response, 422)


def test_long_picture_in_json_is_answered(client: TestClient) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    file = encode(Image.fromarray(noise))
    assert len(file) > 1_000_000
    assert outputs(client.post(INFER, json=files_in_json(file)))


def test_request_without_json_is_one_picture(client: TestClient) -> None:
    response = client.post(INFER, content=RED.tobytes(), headers={HEADER_LENGTH: "0"})
    assert response.headers["content-type"] == "application/octet-stream"
    expected = outputs(client.post(INFER, json=tensor(RED)))
    found = outputs(response)
    assert list(found) == ["probabilities", "energy"]
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "empty"), (RED.tobytes() * 2, "not 384"), (FILES[0], "send encoded pictures to")],
)
def test_request_without_json_of_another_size_is_400(
    client: TestClient, content: bytes, sentence: str
) -> None:
    response = client.post(INFER, content=content, headers={HEADER_LENGTH: "0"})
    assert sentence in error(response, 400)


def packed(algorithm: str, request: dict[str, Any]) -> dict[str, Any]:
    """Compresses an inference request as Triton's client does."""
    compress = gzip.compress if algorithm == "gzip" else zlib.compress
    headers = request["headers"] | {"Content-Encoding": algorithm}
    return {"content": compress(request["content"]), "headers": headers}


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_request_is_answered(client: TestClient, algorithm: str) -> None:
    images = pixels("red", "blue")
    expected = client.post(INFER, json=tensor(images)).json()
    assert client.post(INFER, **packed(algorithm, binary(images))).json() == expected
    text = {"content": json.dumps(tensor(images)).encode(), "headers": {}}
    assert client.post(INFER, **packed(algorithm, text)).json() == expected


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize(
    "damage", [lambda it: it[:-1], lambda it: it + b"x", lambda it: it[1:], lambda _: b"{}"]
)
def test_damaged_compression_is_400(
    client: TestClient, algorithm: str, damage: Callable[[bytes], bytes]
) -> None:
    request = packed(algorithm, binary(RED))
    request["content"] = damage(request["content"])
    assert "Content-Encoding" in error(client.post(INFER, **request), 400)


def test_compressed_body_is_415_elsewhere(client: TestClient) -> None:
    headers = {"Content-Encoding": "gzip"}
    assert client.post(
        "/predict", content=gzip.compress(FILES[0]), headers=headers
    ).status_code == (415)


def test_decompressed_body_over_the_limit_is_413(make_client: MakeClient) -> None:
    client = make_client(max_body_bytes=2000)
    bomb = {"content": bytes(100_000_000), "headers": {HEADER_LENGTH: "0"}}
    request = packed("gzip", bomb)
    request["content"] = request["content"][:1500]
    assert "2,000 bytes" in error(client.post(INFER, **request), 413)
    small = packed("gzip", binary(RED))
    assert client.post(INFER, **small).status_code == 200


@pytest.mark.parametrize("path", ["/v2/models/tiny", "/v2/models/tiny/versions/1"])
def test_configuration_is_that_of_the_service(make_client: MakeClient, path: str) -> None:
    client = make_client(max_queue=7, max_files=5, deadline_ms=300, workers=2, threads=3)
    assert client.get(f"{path}/config").json() == {
        "name": "tiny",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": [1]}},
        "max_batch_size": 5,
        "input": [{"name": "image", "data_type": "TYPE_UINT8", "dims": [8, 8, 3]}],
        "output": [
            {"name": "probabilities", "data_type": "TYPE_FP32", "dims": [3]},
            {"name": "energy", "data_type": "TYPE_FP32", "dims": []},
        ],
        "dynamic_batching": {
            "max_queue_delay_microseconds": 0,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": 300_000,
                "max_queue_size": 7,
            },
        },
        "instance_group": [{"name": "tiny", "kind": "KIND_CPU", "count": 6}],
        "default_model_filename": "model.onnx",
    }


def statistics(client: TestClient, path: str = "/v2/models/tiny/stats") -> dict[str, Any]:
    (found,) = client.get(path).json()["model_stats"]
    assert isinstance(found, dict)
    return found


def test_statistics_begin_at_zero(client: TestClient) -> None:
    found = statistics(client)
    assert (found["name"], found["version"]) == ("tiny", "1")
    assert found["last_inference"] == found["inference_count"] == found["execution_count"] == 0
    assert found["batch_stats"] == []
    assert all(value == {"count": 0, "ns": 0} for value in found["inference_stats"].values())


@pytest.mark.parametrize(
    "path",
    ["/v2/models/stats", "/v2/models/tiny/stats", "/v2/models/tiny/versions/1/stats"],
)
def test_statistics_count_requests_pictures_and_batches(client: TestClient, path: str) -> None:
    before = time.time()
    for batch in (pixels("red"), pixels("red"), pixels(*["red"] * 5)):
        client.post(INFER, **binary(batch))
    client.post("/predict", content=FILES[0])
    client.post("/predict", content=b"no picture")
    found = statistics(client, path)
    assert found["inference_count"] == 8
    assert before * 1000 - 1 <= found["last_inference"] <= time.time() * 1000 + 1
    counted = {name: value["count"] for name, value in found["inference_stats"].items()}
    assert counted == {
        "success": 4,
        "fail": 1,
        "queue": 8,
        "compute_input": 8,
        "compute_infer": 8,
        "compute_output": 8,
        "cache_hit": 0,
        "cache_miss": 0,
    }
    for name in ("success", "fail", "queue", "compute_input", "compute_infer"):
        assert 0 < found["inference_stats"][name]["ns"] < 10**11
    # Five pictures may take more than one batch, and the times of a batch count for each of them.
    batches = found["batch_stats"]
    assert sum(b["batch_size"] * b["compute_infer"]["count"] for b in batches) == 8
    assert sum(b["compute_infer"]["count"] for b in batches) == found["execution_count"]
    total = sum(b["batch_size"] * b["compute_infer"]["ns"] for b in batches)
    assert found["inference_stats"]["compute_infer"]["ns"] == pytest.approx(total, abs=100)


def test_batch_that_the_engine_fails_is_no_execution(
    client: TestClient, engine: FakeEngine
) -> None:
    engine.error = ZeroDivisionError()
    client.post(INFER, json=tensor(RED))
    found = statistics(client)
    assert found["inference_count"] == found["execution_count"] == 0
    assert found["inference_stats"]["fail"]["count"] == 1


@pytest.fixture
def several(engine: FakeEngine) -> TestClient:
    """A service with two models, one of which has two versions."""

    def build(settings: Settings, _order: object, _before: object, observe: Observer) -> Snapshot:
        def model(name: str, version: int) -> LoadedModel:
            return fake_model(engine, settings, observe, name=name, version=version)

        models = {"tiny": [model("tiny", 2), model("tiny", 1)], "other": [model("other", 7)]}
        return Snapshot(models, "tiny")

    settings = Settings.model_validate({"threads": 1})
    return TestClient(create_app(settings, ModelServer(settings, build)))


def test_models_and_versions_answer_by_name(several: TestClient) -> None:
    with several as client:
        while client.get("/health/ready").status_code != 200:
            pass
        for path, name, version in [
            ("/v2/models/tiny", "tiny", "2"),
            ("/v2/models/tiny/versions/1", "tiny", "1"),
            ("/v2/models/other", "other", "7"),
        ]:
            answer = client.post(f"{path}/infer", json=tensor(RED)).json()
            assert (answer["model_name"], answer["model_version"]) == (name, version)
        assert client.get("/v2/models/tiny/versions/1").json()["versions"] == ["2", "1"]
        config = client.get("/v2/models/tiny/config").json()
        assert config["version_policy"] == {"specific": {"versions": [2, 1]}}
        found = client.get("/v2/models/stats").json()["model_stats"]
        assert [(s["name"], s["version"], s["inference_count"]) for s in found] == [
            ("tiny", "2", 1),
            ("tiny", "1", 1),
            ("other", "7", 1),
        ]
        assert len(client.get("/v2/models/tiny/stats").json()["model_stats"]) == 2
        assert statistics(client, "/v2/models/tiny/versions/1/stats")["version"] == "1"


def test_model_is_ready_though_the_default_one_is_not(several: TestClient) -> None:
    with several as client:
        while client.get("/health/ready").status_code != 200:
            pass
        app = client.app
        assert isinstance(app, FastAPI)
        server: ModelServer = app.state.model_server
        assert server.snapshot
        models = {"other": server.snapshot.models["other"]}
        server.snapshot = Snapshot(models, "tiny", unloaded=frozenset({"tiny"}))
        assert client.get("/v2/models/other/ready").status_code == 200
        assert client.get("/v1/models/other").json()["ready"] is True
        for path in ("/v2/models/tiny/ready", "/v2/health/ready", "/v1/models/tiny"):
            assert client.get(path).status_code == 503


def test_statistics_while_loading_are_empty_or_say_so(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    app.state.model_server.snapshot = None
    assert client.get("/v2/models/stats").json() == {"model_stats": []}
    assert "loading" in error(client.get("/v2/models/tiny/stats"), 503)


@pytest.mark.parametrize(
    ("method", "path", "sentence"),
    [
        ("GET", "/v2/systemsharedmemory/status", "Shared memory is not offered"),
        ("GET", "/v2/systemsharedmemory/region/a/status", "Shared memory is not offered"),
        ("POST", "/v2/systemsharedmemory/region/a/register", "Shared memory is not offered"),
        ("POST", "/v2/cudasharedmemory/unregister", "Shared memory is not offered"),
        ("GET", "/v2/trace/setting", "Trace settings are not offered"),
        ("POST", "/v2/models/tiny/trace/setting", "Trace settings are not offered"),
        ("GET", "/v2/logging", "Log settings are not offered"),
        ("POST", "/v2/logging", "Log settings are not offered"),
        ("POST", "/v2/models/tiny/generate", "Generating text is not offered"),
    ],
)
def test_what_is_not_offered_is_said(
    client: TestClient, method: str, path: str, sentence: str
) -> None:
    assert sentence in error(client.request(method, path), 404)
