"""Triton's newest Python client over HTTP: python triton_http.py URL.

Every method of the client is called. The test suite has an older client, beside which the training
can be installed.
"""

import functools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tritonclient.http import (
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
    InferResult,
)
from tritonclient.utils import InferenceServerException

MODEL = "cifar10"
ADMIN = {"authorization": "Bearer root"}
CAT = Path(__file__).parents[1] / "data" / "cat.jpg"
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)

# Methods that need no server, and those that `infer` and others call.
LOCAL = {"close", "plugin", "register_plugin", "unregister_plugin"}

Call = Callable[[InferenceServerClient], object]

ANSWERED: dict[str, Call] = {
    "is_server_live": lambda client: client.is_server_live(),
    "is_server_ready": lambda client: client.is_server_ready(),
    "is_model_ready": lambda client: client.is_model_ready(MODEL),
    "get_server_metadata": lambda client: (
        "statistics" in client.get_server_metadata()["extensions"]
    ),
    "get_model_metadata": lambda client: (
        client.get_model_metadata(MODEL)["outputs"][0]["shape"] == [-1, 10]
    ),
    "get_model_config": lambda client: client.get_model_config(MODEL)["max_batch_size"] == 64,
    "get_inference_statistics": lambda client: [
        client.get_inference_statistics(MODEL)["model_stats"],
        client.get_inference_statistics()["model_stats"],
    ],
    "infer": lambda client: client.infer(MODEL, [image(PICTURES)]).as_numpy("energy"),
    "async_infer": lambda client: client.async_infer(MODEL, [image(PICTURES)]).get_result(),
    "generate_request_body": lambda _: InferenceServerClient.generate_request_body(
        [image(PICTURES)]
    ),
    "parse_response_body": lambda _: InferenceServerClient.parse_response_body(b'{"outputs":[]}'),
    "get_model_repository_index": lambda c: c.get_model_repository_index(headers=ADMIN),
    "unload_model": lambda c: c.unload_model(MODEL, headers=ADMIN),
    "load_model": lambda c: c.load_model(MODEL, headers=ADMIN),
}

_NO_MEMORY = "Shared memory is not offered"
REFUSED: dict[str, tuple[str, Call]] = {
    "update_trace_settings": (
        "Trace settings are not offered",
        lambda c: c.update_trace_settings(MODEL, {"trace_rate": "1"}),
    ),
    "get_trace_settings": ("Trace settings are not offered", lambda c: c.get_trace_settings()),
    "update_log_settings": (
        "Log settings are not offered",
        lambda c: c.update_log_settings({"log_info": True}),
    ),
    "get_log_settings": ("Log settings are not offered", lambda c: c.get_log_settings()),
    "get_system_shared_memory_status": (
        _NO_MEMORY,
        lambda c: c.get_system_shared_memory_status("region"),
    ),
    "register_system_shared_memory": (
        _NO_MEMORY,
        lambda c: c.register_system_shared_memory("region", "/key", 64),
    ),
    "unregister_system_shared_memory": (
        _NO_MEMORY,
        lambda c: c.unregister_system_shared_memory(),
    ),
    "get_cuda_shared_memory_status": (_NO_MEMORY, lambda c: c.get_cuda_shared_memory_status()),
    "register_cuda_shared_memory": (
        _NO_MEMORY,
        lambda c: c.register_cuda_shared_memory("region", b"handle", 0, 64),
    ),
    "unregister_cuda_shared_memory": (
        _NO_MEMORY,
        lambda c: c.unregister_cuda_shared_memory("region"),
    ),
}


def main(url: str) -> None:
    """Calls every method, and asks what the client can ask of `infer`."""
    public = {name for name in vars(InferenceServerClient) if not name.startswith("_")}
    assert public - LOCAL == ANSWERED.keys() | REFUSED.keys(), public
    with InferenceServerClient(url.removeprefix("http://")) as client:
        for name, call in ANSWERED.items():
            assert call(client) is not False, name
        for name, (sentence, call) in REFUSED.items():
            found = refusal(functools.partial(call, client))
            assert sentence in found.message(), (name, found)
        ask(client)


def ask(client: InferenceServerClient) -> None:
    """Asks with JSON and binary tensors, files, compression; for numbers and for classes."""
    before = pictures_of(client)
    binary = infer(client, image(PICTURES))
    assert binary.shape == (3, 10)
    np.testing.assert_allclose(binary.sum(1), 1, rtol=1e-5)
    text = infer(client, image(PICTURES, binary=False), binary=False)
    np.testing.assert_allclose(text, binary, rtol=1e-5)
    for algorithm in ("gzip", "deflate"):
        packed = infer(client, image(PICTURES), request_compression_algorithm=algorithm)
        np.testing.assert_array_equal(packed, binary)
        plain = infer(client, image(PICTURES), response_compression_algorithm=algorithm)
        np.testing.assert_array_equal(plain, binary)
    # What means nothing here is ignored.
    same = infer(
        client,
        image(PICTURES),
        sequence_id=7,
        sequence_start=True,
        priority=1,
        timeout=1000,
        parameters={"mine": "x"},
    )
    np.testing.assert_array_equal(same, binary)
    assert infer(client, files(CAT.read_bytes())).argmax() == 3
    for is_binary in (True, False):
        wanted = [InferRequestedOutput("probabilities", binary_data=is_binary, class_count=2)]
        answer = client.infer(MODEL, [files(CAT.read_bytes())], outputs=wanted)
        ((first, second),) = as_text(answer)
        assert first.endswith(":3:cat")
        assert second.count(":") == 2
    error = refusal(lambda: infer(client, image(PICTURES[:, :8])))
    assert error.status() == "400"
    assert "The shape of `image` must be" in error.message()
    assert pictures_of(client) >= before  # of other workers, a second late


def pictures_of(client: InferenceServerClient) -> int:
    """The number of pictures that the model has computed."""
    (found,) = client.get_inference_statistics(MODEL)["model_stats"]
    assert found["inference_count"] == found["inference_stats"]["compute_infer"]["count"]
    assert found["execution_count"] == sum(
        batch["compute_infer"]["count"] for batch in found["batch_stats"]
    )
    return int(found["inference_count"])


def image(pictures: NDArray[np.uint8], *, binary: bool = True) -> InferInput:
    """Pictures as a tensor."""
    tensor = InferInput("image", list(pictures.shape), "UINT8")
    tensor.set_data_from_numpy(pictures, binary_data=binary)
    return tensor


def files(*pictures: bytes) -> InferInput:
    """Pictures as the bytes of their files."""
    tensor = InferInput("image", [len(pictures)], "BYTES")
    tensor.set_data_from_numpy(np.array(pictures, object))
    return tensor


def infer(
    client: InferenceServerClient, tensor: InferInput, *, binary: bool = True, **options: object
) -> NDArray[np.float32]:
    """Sends pictures; returns their probabilities."""
    outputs = [InferRequestedOutput("probabilities", binary_data=binary)]
    answer = client.infer(MODEL, [tensor], outputs=outputs, **options)
    return np.asarray(answer.as_numpy("probabilities"), np.float32)


def as_text(answer: InferResult) -> list[list[str]]:
    """The classes of each picture."""
    rows = answer.as_numpy("probabilities").tolist()
    return [[it.decode() if isinstance(it, bytes) else it for it in row] for row in rows]


def refusal(call: Callable[[], object]) -> InferenceServerException:
    """Makes a call that is refused; returns the error that the client raises."""
    try:
        call()
    except InferenceServerException as error:
        return error
    raise AssertionError("this was answered")


if __name__ == "__main__":
    main(sys.argv[1])
