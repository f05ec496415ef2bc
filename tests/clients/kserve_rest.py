"""KServe's Python client over REST: python kserve_rest.py URL."""

import asyncio
import base64
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from numpy.typing import NDArray

CAT = Path(__file__).parents[1] / "data" / "cat.jpg"
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


async def main(url: str) -> None:
    """Asks all that the client can ask of both protocols."""
    await ask_v2(url)
    await ask_v1(url)


async def ask_v1(url: str) -> None:
    """Asks V1: is the model ready, what is on these pictures, and what is not offered."""
    async with InferenceRESTClient(RESTConfig(protocol="v1", retries=0)) as client:
        assert await client.is_model_ready(url, "cifar10")
        file = {"b64": base64.b64encode(CAT.read_bytes()).decode()}
        instances = [file, {"image": file}, PICTURES[0].tolist()]
        answer = await client.infer(url, {"instances": instances}, model_name="cifar10")
        cat, same, noise = answer["predictions"]
        assert cat["label"] == "cat"
        assert same == cat
        async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as other:
            expected = await infer(other, url, PICTURES[:1], binary=True)
        np.testing.assert_allclose(noise["probabilities"], expected[0], rtol=1e-5)
        error = await refusal(client.explain(url, "cifar10", {"instances": instances}))
        assert "Only :predict is offered" in str(error)


async def ask_v2(url: str) -> None:
    """Asks V2, with JSON and with binary tensors."""
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
        file = np.array([CAT.read_bytes()], object)
        assert (await infer(client, url, file, binary=True)).argmax() == 3
        error = await refusal(infer(client, url, PICTURES[:, :8], binary=True))
        assert error.response.status_code == 400
        assert "The shape of `image` must be" in str(error)


async def refusal(call: Awaitable[object]) -> httpx.HTTPStatusError:
    """Makes a call that is refused; returns the error that the client raises."""
    try:
        await call
    except httpx.HTTPStatusError as error:
        return error
    raise AssertionError("this was answered")


async def infer(
    client: InferenceRESTClient, url: str, pictures: NDArray[Any], *, binary: bool
) -> NDArray[np.float32]:
    """Sends pictures, or the bytes of their files; returns their probabilities."""
    datatype = "UINT8" if pictures.dtype == np.uint8 else "BYTES"
    image = InferInput("image", list(pictures.shape), datatype)
    image.set_data_from_numpy(pictures, binary_data=binary)
    request = InferRequest("cifar10", [image], parameters={"binary_data_output": binary})
    answer = await client.infer(url, request, model_name="cifar10")
    (probabilities,) = [out for out in answer.outputs if out.name == "probabilities"]
    return np.asarray(probabilities.as_numpy(), np.float32)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
