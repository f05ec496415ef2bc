"""Tensors of the Open Inference Protocol in messages: raw bytes, or lists of values."""

from collections.abc import Mapping, Sequence

from service.errors import InvalidInferenceRequestError
from service.grpc import inference_pb2 as pb
from service.inference.classification import Classification
from service.inference.classifier import Upload
from service.inference.snapshot import LoadedModel
from service.v2.tensors import check_shape, classes, join_elements, numbers, pixels, split_elements

OUTPUTS = ("probabilities", "energy")
_REGION = "shared_memory_region"


def read_pictures(
    request: pb.ModelInferRequest, size: tuple[int, int], max_pictures: int
) -> list[Upload]:
    """Reads the input tensor.

    Args:
        request: the request.
        size: height and width of the model's input in pixels.
        max_pictures: most pictures.

    Returns:
        Of UINT8 the pixels of each picture, uint8 (height, width, 3); of BYTES each encoded
        picture.

    Raises:
        InvalidInferenceRequestError: shape and values do not fit each other or the model.
        TooManyFilesError: there are more than `max_pictures`.
    """
    if len(request.inputs) != 1 or request.inputs[0].name != "image":
        raise InvalidInferenceRequestError("The request must have one input, `image`.")
    tensor, raw = request.inputs[0], request.raw_input_contents
    if tensor.datatype not in ("UINT8", "BYTES"):
        raise InvalidInferenceRequestError(
            "The datatype of `image` must be UINT8, for pixels, or BYTES, for encoded pictures."
        )
    _check_memory(tensor.parameters)
    check_shape(tensor.datatype, tensor.shape, size, max_pictures)
    if len(raw) > 1 or bool(raw) == tensor.HasField("contents"):
        raise InvalidInferenceRequestError(
            "Send `image` either in `raw_input_contents` or in its `contents`."
        )
    if tensor.datatype == "UINT8":
        return list(pixels(raw[0] if raw else _values(tensor.contents), tensor.shape))
    if raw:
        return list(split_elements(memoryview(raw[0]), tensor.shape[0]))
    if len(tensor.contents.bytes_contents) != tensor.shape[0]:
        raise InvalidInferenceRequestError(
            f"The shape of `image` takes {tensor.shape[0]} elements in `bytes_contents`; the "
            f"request has {len(tensor.contents.bytes_contents)}."
        )
    return list(tensor.contents.bytes_contents)


def read_outputs(request: pb.ModelInferRequest) -> dict[str, int]:
    """The requested outputs; a number stands for that many of the most probable classes.

    Raises:
        InvalidInferenceRequestError: an output is requested twice, or does not exist.
    """
    outputs: dict[str, int] = {}
    for output in request.outputs:
        _check_memory(output.parameters)
        count = output.parameters["classification"].int64_param
        if output.name not in OUTPUTS or output.name in outputs:
            raise InvalidInferenceRequestError(
                f"The outputs are `probabilities` and `energy`, each once; {output.name[:80]!r} is "
                f"{'asked for twice' if output.name in outputs else 'no output'}."
            )
        if count < 0 or (count and output.name == "energy"):
            raise InvalidInferenceRequestError(
                "`classification` must be a number of classes, and `energy` has none."
            )
        outputs[output.name] = count
    return outputs or dict.fromkeys(OUTPUTS, 0)


def respond(
    request: pb.ModelInferRequest,
    outputs: Mapping[str, int],
    model: LoadedModel,
    answers: Sequence[Classification],
) -> pb.ModelInferResponse:
    """Makes the answer of a request from the classifications of its pictures, in order.

    The outputs are those of `read_outputs`, in the same form as the input.
    """
    response = pb.ModelInferResponse(
        model_name=model.name, model_version=str(model.version), id=request.id
    )
    is_raw = bool(request.raw_input_contents)
    for name, count in outputs.items():
        if count:
            rows = classes(count, answers)
            elements = [text.encode() for row in rows for text in row]
            shape = (len(rows), len(rows[0]))
            tensor = response.outputs.add(name=name, datatype="BYTES", shape=shape)
            if is_raw:
                response.raw_output_contents.append(join_elements(elements))
            else:
                tensor.contents.bytes_contents.extend(elements)
            continue
        array = numbers(name, answers)
        tensor = response.outputs.add(name=name, datatype="FP32", shape=array.shape)
        if is_raw:
            response.raw_output_contents.append(array.tobytes())
        else:
            tensor.contents.fp32_contents.extend(array.ravel().tolist())
    return response


def _values(contents: pb.InferTensorContents) -> bytes:
    """The values of a UINT8 tensor, in its own field or in another that is in use for it."""
    numbers = contents.uint_contents or contents.int_contents
    try:
        return bytes(numbers) if numbers else b"".join(contents.bytes_contents)
    except ValueError:
        raise InvalidInferenceRequestError(
            "The contents of `image` must be integers from 0 to 255."
        ) from None


def _check_memory(parameters: Mapping[str, pb.InferParameter]) -> None:
    if _REGION in parameters:
        raise InvalidInferenceRequestError(
            "Shared memory is not offered; send tensors in the message."
        )
