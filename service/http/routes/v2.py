"""The Open Inference Protocol V2 under /v2: tensors in, tensors out, as JSON or binary data."""

from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Header, Path, Request, Response
from numpy.typing import NDArray
from pydantic import ValidationError

from service.errors import (
    BodyTooLargeError,
    EmptyUploadError,
    InvalidInferenceRequestError,
    NotReadyError,
    NotServedError,
    TooManyFilesError,
    UnsupportedEncodingError,
)
from service.http import openapi
from service.http.routes.waiting import Timeout, classify
from service.http.schemas import (
    BinaryData,
    InferenceRequest,
    InferenceResponse,
    ModelMetadata,
    ModelReady,
    RequestedInput,
    RequestedOutput,
    ServerLive,
    ServerMetadata,
    ServerReady,
    Tensor,
    TensorMetadata,
)
from service.inference.classifier import Classification, Classifier
from service.inference.model_server import ModelServer

HEADER_LENGTH = "Inference-Header-Content-Length"
# Parsing it holds up all other requests; binary data have no such limit.
MAX_JSON_BYTES = 4_000_000

ModelName = Annotated[str, Path(examples=["cifar10"])]
ModelVersion = Annotated[str, Path(examples=["1"])]
HeaderLength = Annotated[
    int | None,
    Header(alias=HEADER_LENGTH, ge=0, description="Bytes of the JSON before binary data."),
]


async def _find_model(request: Request, model_name: ModelName) -> Classifier:
    """The model of this request, even if another is served before it is answered."""
    model_server: ModelServer = request.app.state.model_server
    classifier = model_server.classifier
    served = classifier.model.name
    if model_name != served:
        raise NotServedError(f"There is no model {model_name!r} here; this service has {served!r}.")
    return classifier


Model = Annotated[Classifier, Depends(_find_model)]


async def _check_version(classifier: Model, model_version: ModelVersion) -> None:
    served = str(classifier.model.version)
    if model_version != served:
        raise NotServedError(f"There is no version {model_version!r} here; {served!r} is served.")


_OF_MODEL = "/v2/models/{model_name}"
_OF_VERSION = _OF_MODEL + "/versions/{model_version}"
_ALL_OUTPUTS = [RequestedOutput(name="probabilities"), RequestedOutput(name="energy")]

server = APIRouter(prefix="/v2")
probes = APIRouter(prefix="/v2/health", tags=["inference protocol"])
any_version = APIRouter(prefix=_OF_MODEL)
one_version = APIRouter(prefix=_OF_VERSION, dependencies=[Depends(_check_version)])


@server.get("", **openapi.SERVER_METADATA)
async def server_metadata(request: Request) -> ServerMetadata:
    """Says what this server is."""
    return ServerMetadata(
        name=request.app.title,
        version=request.app.version,
        extensions=["binary_tensor_data", "model_repository"],
    )


@probes.get("/live", **openapi.SERVER_LIVE)
async def server_live(request: Request) -> ServerLive:
    """Says that the process answers and can compute, whether or not it has a model."""
    model_server: ModelServer = request.app.state.model_server
    if model_server.fault:
        raise NotReadyError(model_server.fault)
    return ServerLive()


@probes.get("/ready", **openapi.SERVER_READY)
async def server_ready(request: Request) -> ServerReady:
    """Says whether the service can answer now."""
    model_server: ModelServer = request.app.state.model_server
    model_server.check_ready()
    return ServerReady(ready=True)


@any_version.get("", **openapi.MODEL_METADATA)
@one_version.get("", **openapi.MODEL_METADATA)
async def model_metadata(classifier: Model) -> ModelMetadata:
    """Says what the model takes and returns."""
    engine, info = classifier.engine, classifier.model
    shape = [-1, engine.height, engine.width, 3]
    return ModelMetadata(
        name=info.name,
        versions=[str(info.version)],
        platform="onnxruntime_onnx",
        inputs=[TensorMetadata(name="image", datatype="UINT8", shape=shape)],
        outputs=[
            TensorMetadata(name="probabilities", datatype="FP32", shape=[-1, len(info.labels)]),
            TensorMetadata(name="energy", datatype="FP32", shape=[-1]),
        ],
    )


@any_version.get("/ready", **openapi.MODEL_READY)
@one_version.get("/ready", **openapi.MODEL_READY)
async def model_ready(request: Request, classifier: Model) -> ModelReady:
    """Says whether the model can answer now."""
    model_server: ModelServer = request.app.state.model_server
    model_server.check_ready()
    return ModelReady(name=classifier.model.name, ready=True)


@any_version.post("/infer", response_model=InferenceResponse, **openapi.INFER)
@one_version.post("/infer", response_model=InferenceResponse, **openapi.INFER)
async def infer(
    request: Request,
    classifier: Model,
    header_length: HeaderLength = None,
    timeout_ms: Timeout = None,
) -> Response:
    """Computes the outputs for a batch of pictures of the model's size."""
    model_server: ModelServer = request.app.state.model_server
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedEncodingError("The body is compressed; send it without Content-Encoding.")
    wanted, binary = _parse(await request.body(), header_length)
    size = (classifier.engine.height, classifier.engine.width)
    pictures = _read_pictures(wanted.inputs[0], binary, size, model_server.settings.max_files)
    answers = []
    for answer in await classify(request, classifier, list(pictures), timeout_ms):
        if isinstance(answer, Exception):
            raise answer
        answers.append(answer)
    outputs = _outputs(wanted, answers)
    return _respond(
        InferenceResponse(
            model_name=classifier.model.name,
            model_version=str(classifier.model.version),
            id=wanted.id,
            outputs=[tensor for tensor, _ in outputs],
        ),
        b"".join(data for _, data in outputs),
    )


router = APIRouter(tags=["inference protocol"])
for part in (server, any_version, one_version):
    router.include_router(part)


def _parse(body: bytes, header_length: int | None) -> tuple[InferenceRequest, memoryview]:
    """Takes a body apart into its JSON and the binary data behind it."""
    if not body:
        raise EmptyUploadError("The request is empty; send an inference request.")
    length = len(body) if header_length is None else header_length
    if length > len(body):
        raise InvalidInferenceRequestError(
            f"{HEADER_LENGTH} is {length:,}, but the body has {len(body):,} bytes only."
        )
    if length > MAX_JSON_BYTES:
        raise BodyTooLargeError(
            f"The JSON is over the limit of {MAX_JSON_BYTES:,} bytes; send binary data instead."
        )
    try:
        return InferenceRequest.model_validate_json(body[:length]), memoryview(body)[length:]
    except ValidationError as error:
        raise InvalidInferenceRequestError(explain(error)) from error


def explain(error: ValidationError) -> str:
    """Says in a sentence what is wrong with a request, from the first of its errors."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    # A key that is not allowed is part of the place, whatever its length.
    what = f"{where}: {first['msg']}" if where else first["msg"]
    return f"The inference request is wrong: {what[:300]}."


def _read_pictures(
    tensor: RequestedInput, binary: memoryview, size: tuple[int, int], max_pictures: int
) -> NDArray[np.uint8]:
    """Reads the input: uint8 (pictures, height, width, 3), a view of binary data."""
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
    wanted: InferenceRequest, answers: Sequence[Classification]
) -> list[tuple[Tensor, bytes]]:
    """Makes each output that is wanted: its place in the JSON, and its binary data if any."""
    values = {
        "probabilities": np.stack([answer.probabilities for answer in answers], dtype="<f4"),
        "energy": np.array([answer.energy for answer in answers], dtype="<f4"),
    }
    outputs = []
    for output in wanted.outputs or _ALL_OUTPUTS:
        array = values[output.name]
        binary = output.parameters.binary_data
        if wanted.parameters.binary_data_output if binary is None else binary:
            parameters = BinaryData(binary_data_size=array.nbytes)
            tensor = Tensor(name=output.name, shape=list(array.shape), parameters=parameters)
            outputs.append((tensor, array.tobytes()))
        else:
            data = array.ravel().tolist()
            outputs.append((Tensor(name=output.name, shape=list(array.shape), data=data), b""))
    return outputs


def _respond(answer: InferenceResponse, binary: bytes) -> Response:
    text = answer.model_dump_json(exclude_none=True).encode()
    if not binary:
        return Response(text, media_type="application/json")
    headers = {HEADER_LENGTH: str(len(text))}
    return Response(text + binary, headers=headers, media_type="application/octet-stream")
