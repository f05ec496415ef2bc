"""Triton's newest Python client over HTTP: python triton_http.py URL.

The test suite has an older one, beside which the training can be installed.
"""

import sys

import numpy as np
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


def main(url: str) -> None:
    """Asks what the client can ask, with JSON and with binary tensors."""
    with InferenceServerClient(url.removeprefix("http://")) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("cifar10")
        assert client.get_model_metadata("cifar10")["outputs"][0]["shape"] == [-1, 10]
        binary = infer(client, PICTURES, binary=True)
        text = infer(client, PICTURES, binary=False)
        assert binary.shape == (3, 10)
        np.testing.assert_allclose(binary.sum(1), 1, rtol=1e-5)
        np.testing.assert_allclose(text, binary, rtol=1e-5)
        error = refusal(client, PICTURES[:, :8])
        assert error.status() == "400"
        assert "The shape of `image` must be" in error.message()


def refusal(client: InferenceServerClient, pictures: NDArray[np.uint8]) -> InferenceServerException:
    """Sends pictures that are refused; returns the error that the client raises."""
    try:
        infer(client, pictures, binary=True)
    except InferenceServerException as error:
        return error
    raise AssertionError("these pictures were answered")


def infer(
    client: InferenceServerClient, pictures: NDArray[np.uint8], *, binary: bool
) -> NDArray[np.float32]:
    """Sends pictures; returns their probabilities."""
    image = InferInput("image", list(pictures.shape), "UINT8")
    image.set_data_from_numpy(pictures, binary_data=binary)
    outputs = [InferRequestedOutput("probabilities", binary_data=binary)]
    answer = client.infer("cifar10", [image], outputs=outputs)
    return np.asarray(answer.as_numpy("probabilities"), np.float32)


if __name__ == "__main__":
    main(sys.argv[1])
