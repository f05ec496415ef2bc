"""The Open Inference Protocol through a client of its own ecosystem, as it comes."""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http.aio
from numpy.typing import NDArray
from PIL import Image
from tritonclient.http import (
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
    InferResult,
)
from tritonclient.utils import InferenceServerException

from service.inference.model_server import WATCH_S
from tests.e2e import web
from tests.e2e.conftest import Server
from tests.e2e.load import wait_until
from tests.service.conftest import colour
from tests.service.models import LABELS

SETTINGS = {"model": "tiny", "max_files": 8}
PICTURES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def url(server: Callable[..., Server], tiny_models: Path) -> Iterator[str]:
    with server(models=tiny_models, **SETTINGS) as running:
        yield running.url.removeprefix("http://")


@pytest.fixture
def client(url: str) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(url, concurrency=4) as client:
        yield client


def image(pictures: NDArray[np.uint8] = PICTURES, *, binary: bool = True) -> InferInput:
    tensor = InferInput("image", list(pictures.shape), "UINT8")
    tensor.set_data_from_numpy(pictures, binary_data=binary)
    return tensor


def expected(pictures: NDArray[np.uint8] = PICTURES) -> dict[str, NDArray[np.float32]]:
    """What the tiny model computes."""
    logits = pictures.mean((1, 2), dtype=np.float32) * np.float32(4 / 255)
    total = np.exp(logits).sum(1)
    return {"probabilities": np.exp(logits) / total[:, None], "energy": np.log(total)}


def check(result: InferResult, pictures: NDArray[np.uint8] = PICTURES) -> None:
    """Checks both outputs of an answer."""
    for name, values in expected(pictures).items():
        found = result.as_numpy(name)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, values, rtol=1e-5)


@pytest.mark.parametrize("version", ["", "1"])
def test_server_and_model_are_live_and_ready(client: InferenceServerClient, version: str) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny", version)
    assert not client.is_model_ready("huge", version)
    assert not client.is_model_ready("tiny", "2")


def test_metadata_describe_the_server_and_the_model(client: InferenceServerClient) -> None:
    assert client.get_server_metadata()["extensions"] == [
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "model_repository",
        "statistics",
    ]
    metadata = client.get_model_metadata("tiny")
    assert metadata == client.get_model_metadata("tiny", "1")
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8, 3]}]


@pytest.mark.parametrize("version", ["", "1"])
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_tensors_travel_as_json_and_as_binary_data(
    client: InferenceServerClient,
    version: str,
    binary_in: bool,
    binary_out: bool,
) -> None:
    wanted = [InferRequestedOutput(n, binary_data=binary_out) for n in ("energy", "probabilities")]
    inputs = [image(binary=binary_in)]
    check(client.infer("tiny", inputs, version, outputs=wanted))


def test_defaults_of_the_client_work(client: InferenceServerClient) -> None:
    result = client.infer("tiny", [image()], request_id="7", timeout=1_000_000, priority=1)
    check(result)
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("7", "tiny", "1")


def test_outputs_travel_each_in_its_own_way(client: InferenceServerClient) -> None:
    wanted = [
        InferRequestedOutput("probabilities", binary_data=True),
        InferRequestedOutput("energy", binary_data=False),
    ]
    check(client.infer("tiny", [image()], outputs=wanted))
    alone = client.infer("tiny", [image()], outputs=wanted[:1])
    assert alone.as_numpy("energy") is None


def test_answer_is_that_of_predict(client: InferenceServerClient, url: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(PICTURES[0]).save(path)
    answer = web.post(f"http://{url}/predict", content=path.read_bytes()).json()
    found = client.infer("tiny", [image(PICTURES[:1])]).as_numpy("probabilities")[0]
    for prediction in answer["predictions"]:
        assert found[prediction["class_id"]] == pytest.approx(prediction["probability"], abs=1e-6)


def test_requests_at_once_get_their_own_answers(client: InferenceServerClient) -> None:
    batches = [PICTURES[:1], PICTURES[1:4], PICTURES[4:], PICTURES]
    pending = [client.async_infer("tiny", [image(pictures)]) for pictures in batches]
    for request, pictures in zip(pending, batches, strict=True):
        check(request.get_result(), pictures)


@pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")
def test_asynchronous_client_works(url: str) -> None:
    async def infer() -> InferResult:
        async with tritonclient.http.aio.InferenceServerClient(url) as client:
            assert await client.is_model_ready("tiny")
            return await client.infer("tiny", [image()])

    check(asyncio.run(infer()))
    gc.collect()  # `is_model_ready` leaves its connection open, which is said when it is collected


def refusal(
    client: InferenceServerClient, *inputs: InferInput, model: str = "tiny", **options: object
) -> tuple[str, str]:
    """Sends what is refused; returns the status and the sentence that the client shows."""
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, list(inputs), **options)
    return caught.value.status(), caught.value.message()


def test_refusals_reach_the_user_of_the_client(client: InferenceServerClient) -> None:
    assert refusal(client, image(), model="huge") == (
        "404",
        "There is no model 'huge' here; this service has 'tiny'.",
    )
    assert refusal(client, image(PICTURES.transpose(0, 3, 1, 2))) == (
        "400",
        "The shape of `image` must be [pictures, 8, 8, 3].",
    )
    floats = InferInput("image", [1, 8, 8, 3], "FP32")
    floats.set_data_from_numpy(np.zeros((1, 8, 8, 3), np.float32))
    status, sentence = refusal(client, floats)
    assert (status, "Input should be 'UINT8'" in sentence) == ("400", True)
    status, sentence = refusal(client, image(np.repeat(PICTURES, 2, axis=0)))
    assert (status, "than allowed (8)" in sentence) == ("413", True)
    classes = [InferRequestedOutput("energy", class_count=3)]
    status, sentence = refusal(client, image(), outputs=classes)
    assert (status, "`energy` has no classes" in sentence) == ("400", True)


@pytest.mark.parametrize("binary", [True, False])
def test_classes_are_text(client: InferenceServerClient, binary: bool) -> None:
    wanted = [InferRequestedOutput("probabilities", binary_data=binary, class_count=2)]
    found = client.infer("tiny", [image()], outputs=wanted).as_numpy("probabilities")
    rows = expected()["probabilities"]
    assert found.shape == (5, 2)
    for (first, _), row in zip(found.tolist(), rows, strict=True):
        text = first.decode() if isinstance(first, bytes) else first
        probability, class_id, label = text.split(":")
        assert float(probability) == pytest.approx(row.max(), abs=1e-5)
        assert (int(class_id), label) == (row.argmax(), LABELS[row.argmax()])


def test_files_are_decoded_by_the_service(client: InferenceServerClient) -> None:
    files = np.array([colour("red"), colour("blue")], object)
    tensor = InferInput("image", [2], "BYTES")
    tensor.set_data_from_numpy(files)
    assert client.infer("tiny", [tensor]).as_numpy("probabilities").argmax(1).tolist() == [0, 2]


def test_statistics_are_those_of_all_workers(
    server: Callable[..., Server], tiny_models: Path
) -> None:
    def pictures(client: InferenceServerClient) -> int:
        (found,) = client.get_inference_statistics("tiny")["model_stats"]
        batches = found["batch_stats"]
        executions = sum(batch["compute_infer"]["count"] for batch in batches)
        assert found["execution_count"] == executions
        return int(found["inference_count"])

    # A new one, of which no worker has yet to report pictures of another test.
    with (
        server(models=tiny_models, **SETTINGS) as running,
        InferenceServerClient(running.url.removeprefix("http://"), concurrency=4) as client,
    ):
        before = pictures(client)
        for pending in [client.async_infer("tiny", [image()]) for _ in range(20)]:
            check(pending.get_result())
        wait_until(lambda: pictures(client) == before + 100)
        time.sleep(2 * WATCH_S)  # and no more are reported
        assert [pictures(client) for _ in range(8)] == [before + 100] * 8


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_requests_may_be_compressed_and_answers_are_not(
    client: InferenceServerClient, algorithm: str
) -> None:
    check(client.infer("tiny", [image()], request_compression_algorithm=algorithm))
    check(client.infer("tiny", [image()], response_compression_algorithm=algorithm))
