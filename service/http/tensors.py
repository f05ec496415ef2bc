"""Reads and writes tensors of the Open Inference Protocol: JSON, with or without binary data."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from starlette.responses import Response

from service.errors import (
    EmptyUploadError,
    InvalidInferenceRequestError,
)
from service.http import base64_pictures
from service.http.parameters import HEADER_LENGTH, read_json
from service.http.schemas_v2 import (
    BinaryData,
    InferenceParameters,
    InferenceRequest,
    InferenceResponse,
    InputParameters,
    RequestedInput,
    RequestedOutput,
    Tensor,
)
from service.inference.classification import Classification
from service.inference.classifier import Upload
from service.v2.tensors import check_shape, classes, join_elements, numbers, pixels, split_elements

_ALL_OUTPUTS = [RequestedOutput(name="probabilities"), RequestedOutput(name="energy")]


def parse_request(
    body: bytes, json_bytes: int | None, size: tuple[int, int]
) -> tuple[InferenceRequest, memoryview]:
    """Splits a body into its JSON, of `json_bytes` or all of it, and the binary data behind it.

    A body without JSON (`json_bytes` is 0) is the tensor of one picture, and its answer has all
    outputs as binary data; `size` is height and width of the model's input.

    Raises:
        EmptyUploadError: there is no body.
        BodyTooLargeError: the JSON is too large.
        InvalidInferenceRequestError: it is not an inference request.
    """
    if not body:
        raise EmptyUploadError("The request is empty; send an inference request.")
    if json_bytes == 0:
        return _raw_request(len(body), size), memoryview(body)
    length = len(body) if json_bytes is None else json_bytes
    if length > len(body):
        raise InvalidInferenceRequestError(
            f"{HEADER_LENGTH} is {length:,}, but the body has only {len(body):,} bytes."
        )
    return read_json(body[:length], InferenceRequest), memoryview(body)[length:]


async def read_pictures(
    tensor: RequestedInput, binary: memoryview, size: tuple[int, int], max_pictures: int
) -> list[Upload]:
    """Reads the input tensor.

    Args:
        tensor: its description, with its values or without.
        binary: the binary data of the request.
        size: height and width of the model's input in pixels.
        max_pictures: most pictures.

    Returns:
        Of UINT8 the pixels of each picture, uint8 (height, width, 3), which are views of binary
        data; of BYTES each encoded picture.

    Raises:
        InvalidInferenceRequestError: shape and values do not fit each other or the model.
        TooManyFilesError: there are more than `max_pictures`.
    """
    check_shape(tensor.datatype, tensor.shape, size, max_pictures)
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
    if tensor.datatype != "BYTES":
        values = binary if tensor.data is None else flatten(tensor.data, tensor.shape)
        return list(pixels(values, tensor.shape))
    if tensor.data is None:
        return list(split_elements(binary, tensor.shape[0]))
    return list(await _decode(tensor.data, tensor.shape[0]))


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


def flatten(data: list[Any], shape: Sequence[int]) -> bytes:
    """Turns the values of a tensor, flat or nested like its shape, into bytes.

    Raises:
        InvalidInferenceRequestError: they are not integers from 0 to 255, or nested otherwise.
    """
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


def _raw_request(body_bytes: int, size: tuple[int, int]) -> InferenceRequest:
    expected = size[0] * size[1] * 3
    if body_bytes != expected:
        raise InvalidInferenceRequestError(
            f"Without JSON ({HEADER_LENGTH}: 0) the body is the tensor of one picture, "
            f"{expected:,} bytes, and not {body_bytes:,}; send encoded pictures to /predict, or "
            "as a BYTES tensor."
        )
    tensor = RequestedInput(
        name="image",
        datatype="UINT8",
        shape=[1, *size, 3],
        parameters=InputParameters(binary_data_size=expected),
    )
    return InferenceRequest(
        parameters=InferenceParameters(binary_data_output=True), inputs=[tensor]
    )


async def _decode(data: list[Any], count: int) -> list[bytes]:
    if len(data) != count or not all(isinstance(text, str) for text in data):
        raise InvalidInferenceRequestError(
            f"The data of `image` must be {count:,} pictures in base64, or binary data."
        )
    return await base64_pictures.decode(data)


def _outputs(
    request: InferenceRequest, answers: Sequence[Classification]
) -> list[tuple[Tensor, bytes]]:
    """Each requested output: its description in the JSON, and its binary data if any."""
    outputs = []
    for output in request.outputs or _ALL_OUTPUTS:
        is_binary = output.parameters.binary_data
        if is_binary is None:
            is_binary = request.parameters.binary_data_output
        if output.parameters.classification:
            outputs.append(_classes(output, answers, is_binary))
        else:
            outputs.append(_numbers(output, answers, is_binary))
    return outputs


def _numbers(
    output: RequestedOutput, answers: Sequence[Classification], is_binary: bool
) -> tuple[Tensor, bytes]:
    array = numbers(output.name, answers)
    shape = list(array.shape)
    if is_binary:
        parameters = BinaryData(binary_data_size=array.nbytes)
        return Tensor(name=output.name, shape=shape, parameters=parameters), array.tobytes()
    return Tensor(name=output.name, shape=shape, data=array.ravel().tolist()), b""


def _classes(
    output: RequestedOutput, answers: Sequence[Classification], is_binary: bool
) -> tuple[Tensor, bytes]:
    """The most probable classes as `probability:class id:label`, as many as there are at most."""
    rows = classes(output.parameters.classification, answers)
    tensor = Tensor(name=output.name, datatype="BYTES", shape=[len(rows), len(rows[0])])
    texts = [text for row in rows for text in row]
    if not is_binary:
        return tensor.model_copy(update={"data": texts}), b""
    data = join_elements([text.encode() for text in texts])
    parameters = BinaryData(binary_data_size=len(data))
    return tensor.model_copy(update={"parameters": parameters}), data
