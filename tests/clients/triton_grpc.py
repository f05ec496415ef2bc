"""Triton's newest Python client over gRPC: python triton_grpc.py ADDRESS.

Every method of the client is called.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

CAT = Path(__file__).parents[1] / "data" / "cat.jpg"
# As in tests/shipped.py, which the environment of this client cannot import.
VERSION = max(
    Path(__file__).parents[2].glob("models/cifar10/[1-9]*"), key=lambda it: int(it.name)
).name
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
ADMIN = {"authorization": "Bearer root"}
# Methods that need no server.
LOCAL = {"plugin", "register_plugin", "unregister_plugin"}
ASKED: set[str] = set()


class Recorder(InferenceServerClient):  # type: ignore[misc]
    """The client, which notes what is asked of it."""

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401
        """Notes the name of what is called."""
        ASKED.add(name)
        return super().__getattribute__(name)


def main(address: str) -> None:
    """Calls every method of the client once."""
    with Recorder(address) as client:
        describe(client)
        classify(client)
        administer(client)
        meet_refusals(client)
    public = {name for name in vars(InferenceServerClient) if not name.startswith("_")}
    assert not public - LOCAL - ASKED, public - LOCAL - ASKED


def describe(client: InferenceServerClient) -> None:
    """Asks what the server and the model are."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("cifar10")
    assert "statistics" in client.get_server_metadata().extensions
    metadata = client.get_model_metadata("cifar10", as_json=True)
    assert metadata["outputs"][0]["shape"] == ["-1", "10"]
    config = client.get_model_config("cifar10").config
    assert list(config.input[0].dims) == [32, 32, 3]
    assert config.max_batch_size > 0


def classify(client: InferenceServerClient) -> None:
    """Sends pictures in every way that the client has."""
    outputs = [InferRequestedOutput("probabilities")]
    answer = client.infer("cifar10", [image()], request_id="7", outputs=outputs, client_timeout=10)
    probabilities = answer.as_numpy("probabilities")
    assert answer.get_response().id == "7"
    assert answer.as_numpy("energy") is None
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    for algorithm in ("gzip", "deflate"):
        packed = client.infer("cifar10", [image()], compression_algorithm=algorithm)
        np.testing.assert_array_equal(packed.as_numpy("probabilities"), probabilities)
    # What means nothing here is ignored.
    same = client.infer(
        "cifar10",
        [image()],
        sequence_id=7,
        sequence_start=True,
        priority=1,
        timeout=1000,
        parameters={"mine": "x"},
    )
    np.testing.assert_array_equal(same.as_numpy("probabilities"), probabilities)
    assert client.infer("cifar10", [file()]).as_numpy("probabilities").argmax() == 3
    best = [InferRequestedOutput("probabilities", class_count=2)]
    classes = client.infer("cifar10", [image()], outputs=best).as_numpy("probabilities")
    assert classes.shape == (3, 2)
    first = int(classes[0, 0].split(b":")[1])
    assert first == probabilities[0].argmax()
    answers: list[Any] = []
    client.async_infer("cifar10", [image()], lambda result, error: answers.append(error or result))
    wait_for(answers)
    np.testing.assert_array_equal(answers[0].as_numpy("probabilities"), probabilities)
    statistics = client.get_inference_statistics("cifar10").model_stats[0]
    assert statistics.version == VERSION
    assert statistics.inference_stats.compute_infer.count == statistics.inference_count
    batches = [batch.compute_infer.count for batch in statistics.batch_stats]
    assert sum(batches) == statistics.execution_count


def administer(client: InferenceServerClient) -> None:
    """Lists, loads and unloads models."""
    index = client.get_model_repository_index(headers=ADMIN)
    assert ("cifar10", VERSION, "READY") in {(it.name, it.version, it.state) for it in index.models}
    client.unload_model("cifar10", headers=ADMIN)
    assert not client.is_model_ready("cifar10")
    client.load_model("cifar10", headers=ADMIN)
    assert client.is_model_ready("cifar10")
    refusal(lambda: client.load_model("cifar10"), "UNAUTHENTICATED", "API key")
    refusal(lambda: client.load_model("mnist", headers=ADMIN), "NOT_FOUND", "mnist")


def meet_refusals(client: InferenceServerClient) -> None:
    """Asks for what is not offered, or does not fit the model."""
    shape = "The shape of `image` must be"
    refusal(lambda: client.infer("cifar10", [image(PICTURES[:, :8])]), "INVALID_ARGUMENT", shape)
    refusal(lambda: client.infer("mnist", [image()]), "NOT_FOUND", "no model 'mnist'")
    for call in (
        client.get_system_shared_memory_status,
        client.get_cuda_shared_memory_status,
        client.unregister_system_shared_memory,
        client.unregister_cuda_shared_memory,
        client.get_trace_settings,
        client.get_log_settings,
        lambda: client.register_system_shared_memory("a", "/a", 1),
        lambda: client.register_cuda_shared_memory("a", b"", 0, 1),
        lambda: client.update_trace_settings(settings={"trace_rate": "1"}),
        lambda: client.update_log_settings({"log_info": True}),
    ):
        refusal(call, "UNIMPLEMENTED", "not offered")
    answers: list[Any] = []
    client.start_stream(lambda result, error: answers.append(error or result))
    wait_for(answers)
    assert "not offered" in str(answers[0])
    refusal(lambda: client.async_stream_infer("cifar10", [image()]), "None", "no longer in valid")
    client.stop_stream()


def refusal(call: Callable[[], object], status: str, sentence: str) -> None:
    """Makes a call that is refused."""
    error = error_of(call)
    assert str(error.status()).removeprefix("StatusCode.") == status, error
    assert sentence in error.message(), error


def error_of(call: Callable[[], object]) -> InferenceServerException:
    """The error that a call raises."""
    try:
        call()
    except InferenceServerException as error:
        return error
    raise AssertionError("this call was answered")


def image(pictures: NDArray[np.uint8] = PICTURES) -> InferInput:
    """Pictures as the input of the model."""
    tensor = InferInput("image", list(pictures.shape), "UINT8")
    tensor.set_data_from_numpy(pictures)
    return tensor


def file() -> InferInput:
    """A picture as the bytes of its file."""
    tensor = InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([CAT.read_bytes()], object))
    return tensor


def wait_for(answers: list[Any]) -> None:
    """Waits for the answer that another thread adds."""
    deadline = time.monotonic() + 10
    while not answers:
        assert time.monotonic() < deadline
        time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1])
