"""KServe's Python client over gRPC: python kserve_grpc.py ADDRESS."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest
from numpy.typing import NDArray

CAT = Path(__file__).parents[1] / "data" / "cat.jpg"
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


async def main(address: str) -> None:
    """Asks all that the client can ask."""
    async with InferenceGRPCClient(address, timeout=10) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("cifar10")
        binary = await infer(client, PICTURES, binary=True)
        values = await infer(client, PICTURES, binary=False)
        assert binary.shape == (3, 10)
        np.testing.assert_allclose(binary.sum(1), 1, rtol=1e-5)
        np.testing.assert_allclose(values, binary, rtol=1e-5)
        file = np.array([CAT.read_bytes()], object)
        assert (await infer(client, file, binary=True)).argmax() == 3
        error = await refusal(client, PICTURES[:, :8])
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "The shape of `image` must be" in str(error.details())


async def refusal(client: InferenceGRPCClient, pictures: NDArray[np.uint8]) -> grpc.aio.AioRpcError:
    """Sends pictures that are refused; returns the error that the client raises."""
    try:
        await infer(client, pictures, binary=True)
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("these pictures were answered")


async def infer(
    client: InferenceGRPCClient, pictures: NDArray[Any], *, binary: bool
) -> NDArray[np.float32]:
    """Sends pictures, or the bytes of their files; returns their probabilities."""
    datatype = "UINT8" if pictures.dtype == np.uint8 else "BYTES"
    image = InferInput("image", list(pictures.shape), datatype)
    image.set_data_from_numpy(pictures, binary_data=binary)
    answer = await client.infer(InferRequest("cifar10", [image]))
    (probabilities,) = [out for out in answer.outputs if out.name == "probabilities"]
    return np.asarray(probabilities.as_numpy(), np.float32)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
