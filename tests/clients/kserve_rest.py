"""KServe's Python client over REST: python kserve_rest.py URL."""

import asyncio
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from numpy.typing import NDArray

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


async def main(url: str) -> None:
    """Asks all that the client can ask of the protocol V2."""
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
        assert await client.is_server_live(url)
        assert await client.is_server_ready(url)
        assert await client.is_model_ready(url, "cifar10")
        assert not await client.is_model_ready(url, "mnist")
        binary = await infer(client, url, PICTURES, binary=True)
        text = await infer(client, url, PICTURES, binary=False)
        assert binary.shape == (3, 10)
        np.testing.assert_allclose(binary.sum(1), 1, rtol=1e-5)
        np.testing.assert_allclose(text, binary, rtol=1e-5)
        error = await refusal(client, url, PICTURES[:, :8])
        assert error.response.status_code == 400
        assert "The shape of `image` must be" in str(error)


async def refusal(
    client: InferenceRESTClient, url: str, pictures: NDArray[np.uint8]
) -> httpx.HTTPStatusError:
    """Sends pictures that are refused; returns the error that the client raises."""
    try:
        await infer(client, url, pictures, binary=True)
    except httpx.HTTPStatusError as error:
        return error
    raise AssertionError("these pictures were answered")


async def infer(
    client: InferenceRESTClient, url: str, pictures: NDArray[np.uint8], *, binary: bool
) -> NDArray[np.float32]:
    """Sends pictures; returns their probabilities."""
    image = InferInput("image", list(pictures.shape), "UINT8")
    image.set_data_from_numpy(pictures, binary_data=binary)
    request = InferRequest("cifar10", [image], parameters={"binary_data_output": binary})
    answer = await client.infer(url, request, model_name="cifar10")
    (probabilities,) = [out for out in answer.outputs if out.name == "probabilities"]
    return np.asarray(probabilities.as_numpy(), np.float32)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
