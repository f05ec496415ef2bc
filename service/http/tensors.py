"""Tensors of the Open Inference Protocol in a body: JSON, with binary data behind it or without."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from service.errors import (
    EmptyUploadError,
    InvalidInferenceRequestError,
    TooManyFilesError,
)
from service.http.parameters import HEADER_LENGTH, read_json
from service.http.schemas_v2 import (
    BinaryData,
    InferenceRequest,
    InferenceResponse,
    RequestedInput,
    RequestedOutput,
    Tensor,
)
from service.inference.classifier import Classification

_ALL_OUTPUTS = [RequestedOutput(name="probabilities"), RequestedOutput(name="energy")]


def parse_request(body: bytes, json_bytes: int | None) -> tuple[InferenceRequest, memoryview]:
    """Splits a body into its JSON, of `json_bytes` or all of it, and the binary data behind it.

    Raises:
        EmptyUploadError: there is no body.
        InvalidInferenceRequestError: the JSON is not an inference request.
    """
    if not body:
        raise EmptyUploadError("The request is empty; send an inference request.")
    length = len(body) if json_bytes is None else json_bytes
    if length > len(body):
        raise InvalidInferenceRequestError(
            f"{HEADER_LENGTH} is {length:,}, but the body has only {len(body):,} bytes."
        )
    return read_json(body[:length], InferenceRequest), memoryview(body)[length:]


def read_pictures(
    tensor: RequestedInput, binary: memoryview, size: tuple[int, int], max_pictures: int
) -> NDArray[np.uint8]:
    """Reads the input tensor.

    Args:
        tensor: its description, with its values or without.
        binary: the binary data of the request.
        size: height and width of the model's input in pixels.
        max_pictures: most pictures.

    Returns:
        uint8 (pictures, height, width, 3), a view of binary data.

    Raises:
        InvalidInferenceRequestError: shape and values do not fit each other or the model.
        TooManyFilesError: there are more than `max_pictures`.
    """
    height, width = size
    if tensor.shape[1:] != [height, width, 3] or tensor.shape[0] < 1:
        raise InvalidInferenceRequestError(
            f"The shape of `image` must be [pictures, {height}, {width}, 3]."
        )
    if tensor.shape[0] > max_pictures:
        raise TooManyFilesError(
            f"The batch holds more pictures than allowed ({max_pictures}); send fewer at a time."
        )
    announced = tensor.parameters.binary_data_size
    if (announced is None) == (tensor.data is None):
        raise InvalidInferenceRequestError(
            "Send `image` either as `data` or, with `binary_data_size`, as binary data."
        )
    if len(binary) != (announced or 0):
        raise InvalidInferenceRequestError(
            f"{len(binary):,} bytes follow the JSON, where `binary_data_size` announces "
            f"{announced or 0:,}; {HEADER_LENGTH} is the length of the JSON alone."
        )
    values = binary if tensor.data is None else _flatten(tensor.data, tensor.shape)
    expected = tensor.shape[0] * height * width * 3
    if len(values) != expected:
        raise InvalidInferenceRequestError(
            f"The shape of `image` takes {expected:,} values; the request has {len(values):,}."
        )
    return np.frombuffer(values, np.uint8).reshape(tensor.shape)


def respond(
    request: InferenceRequest, answers: Sequence[Classification], name: str, version: str
) -> Response:
    """Makes the answer of a request from the classifications of its pictures, in order."""
    outputs = _outputs(request, answers)
    document = InferenceResponse(
        model_name=name,
        model_version=version,
        id=request.id,
        outputs=[tensor for tensor, _ in outputs],
    )
    text = document.model_dump_json(exclude_none=True).encode()
    binary = b"".join(data for _, data in outputs)
    if not binary:
        return Response(text, media_type="application/json")
    headers = {HEADER_LENGTH: str(len(text))}
    return Response(text + binary, headers=headers, media_type="application/octet-stream")


def _flatten(data: list[Any], shape: Sequence[int]) -> bytes:
    """Turns the values of a tensor, flat or nested like its shape, into bytes."""
    try:
        if len(data) == shape[0]:
            for size in shape[1:]:
                if any(len(row) != size for row in data):
                    raise ValueError("ragged")
                data = list(chain.from_iterable(data))
        return bytes(data)
    except (TypeError, ValueError) as error:
        raise InvalidInferenceRequestError(
            "The data of `image` must be integers from 0 to 255, flat or nested like its shape."
        ) from error


def _outputs(
    request: InferenceRequest, answers: Sequence[Classification]
) -> list[tuple[Tensor, bytes]]:
    """Each output that is asked for: its place in the JSON, and its binary data if any."""
    values = {
        "probabilities": np.stack([answer.probabilities for answer in answers], dtype="<f4"),
        "energy": np.array([answer.energy for answer in answers], dtype="<f4"),
    }
    outputs = []
    for output in request.outputs or _ALL_OUTPUTS:
        array = values[output.name]
        binary = output.parameters.binary_data
        if request.parameters.binary_data_output if binary is None else binary:
            parameters = BinaryData(binary_data_size=array.nbytes)
            tensor = Tensor(name=output.name, shape=list(array.shape), parameters=parameters)
            outputs.append((tensor, array.tobytes()))
        else:
            data = array.ravel().tolist()
            outputs.append((Tensor(name=output.name, shape=list(array.shape), data=data), b""))
    return outputs
