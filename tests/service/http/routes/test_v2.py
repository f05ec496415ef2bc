"""The Open Inference Protocol around a fake engine."""

import asyncio
import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from service import RELEASE
from service.errors import ModelNotFoundError
from service.http.parameters import HEADER_LENGTH
from service.inference.classification import Classification
from service.inference.classifier import Upload
from service.inference.model_server import ModelServer
from service.inference.snapshot import LoadedModel
from tests.service.conftest import FakeEngine, colour, encode, keep_busy, running
from tests.service.http.test_app import SlowStart, sample, start

MakeClient = Callable[..., TestClient]
Pixels = NDArray[np.uint8]

INFER = "/v2/models/tiny/infer"
MODEL_PATHS = ["/v2/models/tiny", "/v2/models/tiny/versions/1"]


def pixels(*names: str) -> Pixels:
    """A batch of pictures of one colour each, of the model's size."""
    return np.stack([np.asarray(Image.new("RGB", (8, 8), name)) for name in names])


def tensor(images: Pixels, **changes: object) -> dict[str, Any]:
    """An inference request in JSON, its input changed; a change to None leaves the key out."""
    image: dict[str, object] = {"name": "image", "datatype": "UINT8"}
    image |= {"shape": list(images.shape), "data": images.tolist()} | changes
    return {"inputs": [{key: value for key, value in image.items() if value is not None}]}


def binary(
    images: Pixels, *, tail: bytes | None = None, length: object = None, **request: object
) -> dict[str, Any]:
    """An inference request with binary data: the arguments of a post."""
    tail = images.tobytes() if tail is None else tail
    document = tensor(images, data=None, parameters={"binary_data_size": images.nbytes})
    text = json.dumps({**document, **request}).encode()
    header = {HEADER_LENGTH: str(len(text) if length is None else length)}
    return {"content": text + tail, "headers": header}


def outputs(response: httpx2.Response) -> dict[str, NDArray[np.float32]]:
    """The outputs of an answer, whichever way they travel; checks that nothing is left over."""
    assert response.status_code == 200, response.text
    length = int(response.headers.get(HEADER_LENGTH, len(response.content)))
    rest = response.content[length:]
    found = {}
    for output in json.loads(response.content[:length])["outputs"]:
        assert output["datatype"] == "FP32"
        if "data" in output:
            values = np.array(output["data"], np.float32)
        else:
            size = output["parameters"]["binary_data_size"]
            values, rest = np.frombuffer(rest[:size], "<f4"), rest[size:]
        found[output["name"]] = values.reshape(output["shape"])
    assert rest == b""
    return found


def error(response: httpx2.Response, status: int) -> str:
    """Checks that an answer is an error of the protocol; returns its sentence."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert set(document) == {"error"}
    sentence: str = document["error"]
    assert sentence.endswith(".")
    return sentence


def test_server_says_what_it_is(client: TestClient) -> None:
    assert client.get("/v2").json() == {
        "name": "cifar10-serve",
        "version": RELEASE,
        "extensions": [
            "binary_tensor_data",
            "classification",
            "model_configuration",
            "model_repository",
            "statistics",
        ],
    }
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}


@pytest.mark.parametrize("path", MODEL_PATHS)
def test_metadata_are_those_of_the_model(client: TestClient, path: str) -> None:
    assert client.get(path).json() == {
        "name": "tiny",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8, 3]}],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "energy", "datatype": "FP32", "shape": [-1]},
        ],
    }
    assert client.get(f"{path}/ready").json() == {"name": "tiny", "ready": True}


@pytest.mark.parametrize(
    "path", ["/v2/models/huge", "/v2/models/tiny/versions/2", "/v2/models/tiny/versions/01"]
)
def test_other_model_or_version_is_404(client: TestClient, path: str) -> None:
    named = path.rpartition("/")[2]
    for response in (
        client.get(path),
        client.get(f"{path}/ready"),
        client.post(f"{path}/infer", json=tensor(pixels("red"))),
    ):
        assert repr(named) in error(response, 404)


@pytest.mark.parametrize("path", ["/v2/nope", "/v2/models", "/v2/models/tiny/nope"])
def test_unknown_route_has_an_error_of_the_protocol(client: TestClient, path: str) -> None:
    assert path in error(client.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("GET", INFER, "POST"), ("PUT", "/v2", "GET, HEAD")]
)
def test_wrong_method_has_an_error_of_the_protocol(
    client: TestClient, method: str, path: str, allowed: str
) -> None:
    response = client.request(method, path)
    assert method in error(response, 405)
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize("path", MODEL_PATHS)
def test_answer_is_that_of_predict(client: TestClient, path: str) -> None:
    picture = Image.new("RGB", (8, 8), "teal")
    expected = client.post("/predict", content=encode(picture)).json()["predictions"]
    response = client.post(f"{path}/infer", json=tensor(np.asarray(picture)[None]))
    answer = response.json()
    assert (answer["model_name"], answer["model_version"]) == ("tiny", "1")
    (found,) = outputs(response)["probabilities"]
    assert {p["class_id"]: p["probability"] for p in expected} == pytest.approx(
        dict(enumerate(found.tolist())), abs=1e-6
    )


def test_energy_is_that_of_the_engine(client: TestClient, engine: FakeEngine) -> None:
    images = pixels("white", "black")
    energy = outputs(client.post(INFER, json=tensor(images)))["energy"]
    np.testing.assert_array_equal(energy, engine.run(images)[1])


def test_flat_nested_and_binary_data_give_the_same_answer(client: TestClient) -> None:
    images = pixels("red", "navy", "olive")
    nested = client.post(INFER, json=tensor(images))
    flat = client.post(INFER, json=tensor(images, data=images.ravel().tolist()))
    assert flat.json() == nested.json()
    assert client.post(INFER, **binary(images)).json() == nested.json()
    assert outputs(nested)["probabilities"].argmax(1).tolist() == [0, 2, 0]


def test_answer_is_json_unless_asked_otherwise(client: TestClient) -> None:
    response = client.post(INFER, **binary(pixels("red")))
    assert response.headers["content-type"] == "application/json"
    assert HEADER_LENGTH not in response.headers
    assert [output["shape"] for output in response.json()["outputs"]] == [[1, 3], [1]]


def test_binary_answer_holds_the_same_values(client: TestClient) -> None:
    images = pixels("red", "blue")
    parameters = {"binary_data_output": True}
    response = client.post(INFER, **binary(images, parameters=parameters))
    assert response.headers["content-type"] == "application/octet-stream"
    expected = outputs(client.post(INFER, json=tensor(images)))
    found = outputs(response)
    assert list(found) == ["probabilities", "energy"]
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_each_output_can_say_how_it_travels(client: TestClient) -> None:
    wanted = [{"name": "energy"}, {"name": "probabilities", "parameters": {"binary_data": False}}]
    parameters = {"binary_data_output": True}
    request = {**tensor(pixels("red")), "outputs": wanted, "parameters": parameters}
    response = client.post(INFER, json=request)
    found = outputs(response)
    assert list(found) == ["energy", "probabilities"]
    length = int(response.headers[HEADER_LENGTH])
    energy, probabilities = json.loads(response.content[:length])["outputs"]
    assert energy["parameters"] == {"binary_data_size": 4}
    assert "parameters" not in probabilities
    assert len(response.content) == length + 4


def test_only_the_outputs_that_are_asked_for_come_back(client: TestClient) -> None:
    request = {**tensor(pixels("red")), "outputs": [{"name": "energy"}]}
    assert list(outputs(client.post(INFER, json=request))) == ["energy"]
    assert len(outputs(client.post(INFER, json={**request, "outputs": []}))) == 2


def test_id_comes_back(client: TestClient) -> None:
    request = tensor(pixels("red"))
    assert client.post(INFER, json={**request, "id": "ünique"}).json()["id"] == "ünique"
    for without in (request, {**request, "id": None}):
        assert "id" not in client.post(INFER, json=without).json()


def test_hints_that_mean_nothing_here_are_ignored(client: TestClient) -> None:
    request = tensor(pixels("red"), parameters={"content_type": "np"})
    request |= {"model_name": "tiny", "parameters": {"priority": 1, "timeout": 1000}}
    request |= {"outputs": [{"name": "energy", "parameters": {"content_type": "np"}}]}
    assert client.post(INFER, json=request).status_code == 200


RED = pixels("red")


def ragged() -> list[Any]:
    data: list[Any] = RED.tolist()
    data[0][0].append(data[0][1].pop())
    return data


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "input"}, "inputs.0.name: Input should be 'image'"),
        ({"name": None}, "inputs.0.name"),
        ({"datatype": "FP32"}, "inputs.0.datatype: Input should be 'UINT8'"),
        ({"shape": [8, 8, 3]}, "[pictures, 8, 8, 3]"),
        ({"shape": [1, 3, 8, 8]}, "[pictures, 8, 8, 3]"),
        ({"shape": [1, 8, 8, 3, 1]}, "[pictures, 8, 8, 3]"),
        ({"shape": []}, "[pictures, 8, 8, 3]"),
        ({"shape": [0, 8, 8, 3], "data": []}, "[pictures, 8, 8, 3]"),
        ({"shape": [-1, 8, 8, 3]}, "[pictures, 8, 8, 3]"),
        ({"shape": [-1, -8, 8, 3]}, "[pictures, 8, 8, 3]"),
        ({"shape": [1.0, 8, 8, 3]}, "inputs.0.shape.0"),
        ({"shape": [True, 8, 8, 3]}, "inputs.0.shape.0"),
        ({"shape": ["x"] * 10_000}, "inputs.0.shape.0"),
        ({"shape": [2, 8, 8, 3]}, "from 0 to 255, flat or nested"),
        ({"shape": [2, 8, 8, 3], "data": [0] * 192}, "takes 384 values; the request has 192"),
        ({"data": [0] * 191}, "takes 192 values; the request has 191"),
        ({"data": []}, "takes 192 values; the request has 0"),
        ({"data": None}, "either as `data` or"),
        ({"parameters": {"binary_data_size": 192}}, "either as `data` or"),
        ({"data": None, "parameters": {"binary_data_size": 192}}, "0 bytes follow the JSON"),
        ({"data": None, "parameters": {"binary_data_size": -1}}, "0 bytes follow the JSON"),
        ({"data": None, "parameters": {"binary_data_size": "192"}}, "binary_data_size"),
        ({"data": "x" * 192}, "inputs.0.data"),
        ({"data": ragged()}, "from 0 to 255, flat or nested"),
        ({"data": [*RED.ravel().tolist()[1:], 256]}, "from 0 to 255"),
        ({"data": [*RED.ravel().tolist()[1:], -1]}, "from 0 to 255"),
        ({"data": [*RED.ravel().tolist()[1:], 2**80]}, "from 0 to 255"),
        ({"data": [*RED.ravel().tolist()[1:], 1.0]}, "from 0 to 255"),
        ({"data": [*RED.ravel().tolist()[1:], float("nan")]}, "from 0 to 255"),
        ({"data": [*RED.ravel().tolist()[1:], "1"]}, "from 0 to 255"),
        ({"data": [*RED.ravel().tolist()[1:], {}]}, "from 0 to 255"),
        ({"data": ["a" * 192]}, "from 0 to 255"),
    ],
)
def test_tensor_that_does_not_fit_is_400(
    common_client: TestClient, changes: dict[str, Any], sentence: str
) -> None:
    content = json.dumps(tensor(RED, **changes))
    assert sentence in error(common_client.post(INFER, content=content), 400)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"inputs": []}, "inputs: List should have at least 1 item"),
        ({"inputs": tensor(RED)["inputs"] * 2}, "inputs: List should have at most 1 item"),
        ({"inputs": [7] * 10_000}, "inputs.0: "),
        ({"inputs": None}, "inputs: "),
        ({"outputs": [{"name": "logits"}]}, "'probabilities' or 'energy'"),
        ({"outputs": [{"name": "energy"}] * 3}, "outputs: List should have at most 2 items"),
        ({"outputs": [{"name": "energy", "parameters": {"classification": 3}}]}, "no classes"),
        ({"outputs": [{"name": "energy"}] * 2}, "output 'energy' is asked for twice"),
        (
            {"outputs": [{"name": "probabilities", "parameters": {"classification": -1}}]},
            "classification",
        ),
        (
            {"outputs": [{"name": "energy", "parameters": {"shared_memory_region": "r"}}]},
            "Shared memory is not offered",
        ),
        (
            tensor(RED, data=None, parameters={"shared_memory_region": "r"}),
            "Shared memory is not offered",
        ),
        ({"outputs": [{"name": "energy", "parameters": {"binary_data": 1}}]}, "binary_data"),
        ({"parameters": {"binary_data_output": "yes"}}, "binary_data_output"),
        ({"id": 7}, "id: Input should be a valid string"),
    ],
)
def test_request_out_of_form_is_400(
    common_client: TestClient, changes: dict[str, Any], sentence: str
) -> None:
    assert sentence in error(common_client.post(INFER, json=tensor(RED) | changes), 400)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty"),
        (b"{", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b'{"id": "\\ud800"}', "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (colour("red"), "Invalid JSON"),
        (b'{"inputs": [], "id": ' + b"9" * 5000 + b"}", "inference request is wrong"),
    ],
)
def test_body_that_is_no_request_is_400(client: TestClient, content: bytes, sentence: str) -> None:
    assert sentence in error(client.post(INFER, content=content), 400)


def test_long_name_is_not_sent_back_whole(client: TestClient) -> None:
    wanted = [{"name": "x" * 100_000}]
    assert len(error(client.post(INFER, json=tensor(RED) | {"outputs": wanted}), 400)) < 400


@pytest.mark.parametrize(
    ("request_", "status", "sentence"),
    [
        (binary(RED, tail=RED.tobytes()[1:]), 400, "191 bytes follow the JSON"),
        (binary(RED, tail=RED.tobytes() + b"\0"), 400, "193 bytes follow the JSON"),
        (binary(RED, length=0), 400, "192 bytes, and not 308"),
        (binary(RED, length=20), 400, "Invalid JSON"),
        (binary(RED, length=10**5), 400, "is 100,000, but the body has"),
        (binary(RED, length=-1), 422, HEADER_LENGTH),
        (binary(RED, length="many"), 422, HEADER_LENGTH),
        (binary(RED, length="9" * 5000), 422, HEADER_LENGTH),
    ],
)
def test_length_that_is_not_true_is_refused(
    client: TestClient, request_: dict[str, Any], status: int, sentence: str
) -> None:
    assert sentence in error(client.post(INFER, **request_), status)


def test_binary_data_without_the_header_are_400(client: TestClient) -> None:
    request = binary(RED)
    assert "Invalid JSON" in error(client.post(INFER, content=request["content"]), 400)


def test_binary_data_of_another_size_than_the_shape_are_400(client: TestClient) -> None:
    document = tensor(RED, data=None, parameters={"binary_data_size": 4})
    text = json.dumps(document).encode()
    response = client.post(INFER, content=text + b"abcd", headers={HEADER_LENGTH: str(len(text))})
    assert "takes 192 values; the request has 4" in error(response, 400)


@pytest.mark.parametrize("encoding", ["br", "identity, gzip"])
def test_body_that_is_compressed_in_another_way_is_415(client: TestClient, encoding: str) -> None:
    response = client.post(INFER, json=tensor(RED), headers={"Content-Encoding": encoding})
    assert "Content-Encoding" in error(response, 415)


def test_identity_is_no_compression(client: TestClient) -> None:
    response = client.post(INFER, json=tensor(RED), headers={"Content-Encoding": "identity"})
    assert response.status_code == 200


def test_body_over_the_limit_is_413(make_client: MakeClient) -> None:
    client = make_client(max_body_bytes=100)
    assert "100 bytes" in error(client.post(INFER, json=tensor(RED)), 413)


def test_long_json_is_413_and_long_binary_data_are_not(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.http.parameters.MAX_JSON_BYTES", 500)
    images = pixels(*["red"] * 5)
    assert "500 bytes; send tensors as binary data" in error(
        client.post(INFER, json=tensor(images)), 413
    )
    assert len(outputs(client.post(INFER, **binary(images)))["energy"]) == 5


@pytest.mark.parametrize("count", [3, 2**31, 2**64, 10**30])
def test_batch_over_the_limit_is_413(make_client: MakeClient, count: int) -> None:
    client = make_client(max_files=2)
    sentence = error(client.post(INFER, json=tensor(RED, shape=[count, 8, 8, 3])), 413)
    assert "2" in sentence
    assert client.post(INFER, json=tensor(pixels("red", "red"))).status_code == 200


@pytest.mark.anyio
async def test_full_queue_is_503_and_nothing_is_computed(
    make_app: Callable[..., FastAPI], engine: FakeEngine
) -> None:
    app = make_app(max_queue=2)
    async with (
        running(app) as model_server,
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client,
    ):
        await keep_busy(model_server, engine)
        waiting = model_server.submit(model_server.find(), [colour("red")])
        response = await client.post(INFER, json=tensor(pixels("green", "blue")))
        engine.go.set()
        await waiting[0]
    error(response, 503)
    assert int(response.headers["retry-after"]) > 0
    assert engine.batches == [1, 1]


def test_missed_deadline_is_504(make_client: MakeClient, engine: FakeEngine) -> None:
    client = make_client(deadline_ms=20)
    engine.go.clear()
    error(client.post(INFER, json=tensor(RED)), 504)
    engine.go.set()


def test_mistake_of_ours_is_500_without_a_trace(client: TestClient, engine: FakeEngine) -> None:
    engine.error = ZeroDivisionError("a secret")
    sentence = error(client.post(INFER, json=tensor(RED)), 500)
    assert "secret" not in sentence


BUSY_PATHS = ["/v2/health/ready", *MODEL_PATHS, "/v2/models/tiny/ready", "/v2/models/huge"]


def test_loading_is_live_but_not_ready() -> None:
    load = SlowStart(ModelNotFoundError("none"))
    with start(load) as client:
        assert client.get("/v2").status_code == 200
        assert client.get("/v2/health/live").json() == {"live": True}
        answers = [client.get(path) for path in BUSY_PATHS]
        for response in [*answers, client.post(INFER, json=tensor(RED))]:
            assert "loading" in error(response, 503)
            assert response.headers["retry-after"]
        load.go.set()


def test_draining_is_live_but_not_ready(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    app.state.model_server.draining = True
    assert client.get("/v2/health/live").status_code == 200
    for path in ("/v2/health/ready", "/v2/models/tiny/ready"):
        response = client.get(path)
        assert "shutting down" in error(response, 503)
        assert response.headers["retry-after"]
    assert client.post(INFER, json=tensor(RED)).status_code == 200


def test_process_that_cannot_compute_is_neither_live_nor_ready(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    app.state.model_server.fault = "A thread has died."
    assert error(client.get("/v2/health/live"), 503) == "A thread has died."
    for response in [*map(client.get, BUSY_PATHS), client.post(INFER, json=tensor(RED))]:
        assert "cannot be computed" in error(response, 503)


def test_batch_goes_through_the_engine_together(
    make_client: MakeClient, engine: FakeEngine
) -> None:
    make_client(max_batch=8).post(INFER, **binary(pixels(*["red"] * 8)))
    assert sum(engine.batches) == 8
    assert len(engine.batches) <= 3


@pytest.mark.anyio
async def test_tensors_and_uploads_share_a_batch(
    make_app: Callable[..., FastAPI], engine: FakeEngine
) -> None:
    async with running(make_app()) as model_server:
        busy = await keep_busy(model_server, engine)
        first, second = pixels("blue", "green")
        waiting = model_server.submit(model_server.find(), [first, colour("red"), second])
        engine.go.set()
        await busy
        answers = [await answer for answer in waiting]
    assert [answer.top(1)[0].label for answer in answers] == ["blue", "red", "green"]
    assert engine.batches == [1, 3]


def test_binary_data_are_not_copied(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Upload] = []
    submit = ModelServer.submit

    def spy(
        model_server: ModelServer,
        model: LoadedModel,
        uploads: Sequence[Upload],
        timeout_s: float,
    ) -> "list[asyncio.Future[Classification]]":
        seen.extend(uploads)
        return submit(model_server, model, uploads, timeout_s)

    monkeypatch.setattr(ModelServer, "submit", spy)
    request = binary(pixels("red", "blue"))
    client.post(INFER, **request)
    for upload in seen:
        origin: Any = upload
        while isinstance(origin, np.ndarray):
            origin = origin.base
        assert origin.obj == request["content"]
    assert len(seen) == 2


def test_metrics_count_tensors_like_uploads(client: TestClient) -> None:
    client.post(INFER, json=tensor(pixels("red", "blue", "black")))
    client.post(INFER, content=b"{")
    client.get("/v2/models/tiny/versions/1/ready")
    for name, value in {
        'classifier_predictions_total{label="red",model="tiny"}': 2,
        'classifier_predictions_total{label="blue",model="tiny"}': 1,
        'classifier_rejections_total{model="tiny",reason="invalid-inference-request"}': 1,
        'http_requests_total{route="/v2/models/{model_name}/infer",status="200"}': 1,
        'http_requests_total{route="/v2/models/{model_name}/infer",status="400"}': 1,
        'http_requests_total{route="/v2/models/{model_name}/versions/{model_version}/ready",'
        'status="200"}': 1,
    }.items():
        assert sample(client, name) == value, name


def test_documentation_names_every_error_shape(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operations = {path: o for path, o in document["paths"].items() if path.startswith("/v2/models")}
    assert len(operations) == 11
    for methods in operations.values():
        for status, answer in next(iter(methods.values()))["responses"].items():
            if status != "200":
                reference = answer["content"]["application/json"]["schema"]["$ref"]
                assert reference == "#/components/schemas/InferenceError"
    assert "InferenceError" in document["components"]["schemas"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)
HINTS = {"parameters": {"binary_data_output": True}, "outputs": [{"name": "energy"}], "id": "7"}


def places(value: object) -> list[tuple[Any, Any]]:
    """Every owner and key in a document where a value can be exchanged."""
    if not isinstance(value, dict | list):
        return []
    items = list(value.items() if isinstance(value, dict) else enumerate(value[:4]))
    return [(value, key) for key, _ in items] + [p for _, item in items for p in places(item)]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_mutated_request_is_answered_or_refused(client: TestClient, data: st.DataObject) -> None:
    tail = data.draw(st.sampled_from([b"", RED.tobytes()]))
    way: dict[str, Any] = {"data": None, "parameters": {"binary_data_size": 192}} if tail else {}
    document = deepcopy(tensor(RED, **way) | HINTS)
    for _ in range(data.draw(st.integers(0, 2))):
        owner, key = data.draw(st.sampled_from(places(document)))
        owner[key] = data.draw(JSON)
    text = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(0, 1))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    lie = data.draw(st.just(0) | st.integers(-9, 9))
    headers = {HEADER_LENGTH: str(len(text) + lie)}
    response = client.post(INFER, content=bytes(text) + tail, headers=headers)
    if response.status_code == 200:
        assert outputs(response)
    else:
        assert response.status_code in (400, 413, 422)
        error(response, response.status_code)
