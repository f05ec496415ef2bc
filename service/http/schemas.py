"""Requests and answers as they travel."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field

Status = Literal["ok", "degraded", "loading", "draining", "unloaded", "failed"]


class _Schema(BaseModel):
    model_config = ConfigDict(frozen=True)


class Prediction(_Schema):
    """One class and how probable it is."""

    label: Annotated[str, Field(examples=["ship"])]
    class_id: Annotated[int, Field(examples=[8])]
    probability: Annotated[float, Field(ge=0, le=1, examples=[0.9731])]


class ImageFacts(_Schema):
    """What was uploaded."""

    width: Annotated[int, Field(description="Pixels, once upright.", examples=[640])]
    height: Annotated[int, Field(description="Pixels, once upright.", examples=[480])]
    format: Annotated[str, Field(examples=["JPEG"])]


class Problem(_Schema):
    """A problem document (RFC 9457)."""

    type: Annotated[
        str, Field(description="Names the kind of problem.", examples=["/problems/empty-upload"])
    ]
    title: Annotated[str, Field(examples=["Empty upload"])]
    status: Annotated[int, Field(description="The HTTP status.", examples=[400])]
    detail: Annotated[
        str,
        Field(
            description="What is wrong and what to do.",
            examples=["The upload is empty; send the bytes of a picture."],
        ),
    ]
    request_id: Annotated[
        str,
        Field(
            description="Quote it when you report the problem.",
            examples=["2a0f40f8a9e04aff8394aebcfa79156f"],
        ),
    ]


class Result(_Schema):
    """The answer for one picture."""

    predictions: Annotated[list[Prediction], Field(description="Most probable first.")]
    unfamiliar: Annotated[
        bool,
        Field(
            description="The picture is unlike the training data: trust it less.",
            examples=[False],
        ),
    ]
    image: ImageFacts


class Served(_Schema):
    """Which model answered."""

    model: Annotated[str, Field(examples=["cifar10"])]
    version: Annotated[str, Field(examples=["1"])]


class PredictResponse(Result, Served):
    """Answer of /predict."""

    input: Annotated[
        str | None, Field(description="The picture as the model saw it: a data URL of a PNG.")
    ] = None


class Failure(_Schema):
    """Why one picture of a batch has no answer."""

    error: Problem


class BatchResponse(Served):
    """Answer of /predict/batch."""

    results: Annotated[list[Result | Failure], Field(description="In the order of the files.")]


class Health(_Schema):
    """State of the service."""

    status: Status
    model: str
    version: str | None = None
    variant: str | None = None
    provider: str | None = None
    requested_provider: str | None = None
    sha256: str | None = None
    uptime_s: float
    reason: Annotated[
        str | None,
        Field(description="Why the provider is not the one asked for, or why nothing is computed."),
    ] = None
    warning: Annotated[
        str | None,
        Field(description="What else is not as it should be: a change of model that failed, say."),
    ] = None


class Live(_Schema):
    """The process answers."""

    status: Literal["ok", "failed"] = "ok"
    reason: Annotated[str | None, Field(description="Why only a new process can compute.")] = None


# From here on: the Open Inference Protocol. Its names and datatypes are those of the artifact.

Output = Literal["probabilities", "energy"]


class InferenceError(_Schema):
    """An error of the inference protocol."""

    error: Annotated[
        str,
        Field(
            description="What is wrong and what to do.",
            examples=["The shape of `image` must be [pictures, 32, 32, 3]."],
        ),
    ]


class ServerMetadata(_Schema):
    """What this server is."""

    name: Annotated[str, Field(examples=["cifar10-serve"])]
    version: Annotated[str, Field(examples=["1"])]
    extensions: Annotated[list[str], Field(examples=[["binary_tensor_data"]])]


class ServerLive(_Schema):
    """The process answers."""

    live: Literal[True] = True


class ServerReady(_Schema):
    """The service can answer."""

    ready: bool


class ModelReady(ServerReady):
    """The model can answer."""

    name: Annotated[str, Field(examples=["cifar10"])]


class RepositoryModel(_Schema):
    """A version of a model in the repository."""

    name: Annotated[str, Field(examples=["cifar10"])]
    version: Annotated[str, Field(examples=["1"])]
    state: Literal["READY", "UNAVAILABLE"]
    reason: str | None = None


class TensorMetadata(_Schema):
    """One tensor of a model."""

    name: Annotated[str, Field(examples=["image"])]
    datatype: Annotated[str, Field(examples=["UINT8"])]
    shape: Annotated[list[int], Field(description="-1: any size.", examples=[[-1, 32, 32, 3]])]


class ModelMetadata(_Schema):
    """What a model takes and returns."""

    name: Annotated[str, Field(examples=["cifar10"])]
    versions: Annotated[list[str], Field(examples=[["1"]])]
    platform: Annotated[str, Field(examples=["onnxruntime_onnx"])]
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class _Request(BaseModel):
    # Lists fail at their first wrong item: a report on a million of them would take gigabytes.
    model_config = ConfigDict(frozen=True, strict=True)


class RepositoryIndexRequest(_Request):
    """What of the repository is to be listed."""

    ready: bool = False


class RepositoryRequest(_Request):
    """How a model is to be loaded or unloaded."""

    parameters: dict[str, Any] = {}


class InputParameters(_Request):
    """How an input travels."""

    binary_data_size: int | None = None


class RequestedInput(_Request):
    """A batch of pictures, here or, as binary data, after the JSON."""

    name: Literal["image"]
    datatype: Literal["UINT8"]
    shape: Annotated[list[int], FailFast()]
    parameters: InputParameters = InputParameters()
    data: list[Any] | None = None


class OutputParameters(_Request):
    """How an output is to travel."""

    # Classes or shared memory, say, cannot be had, and must not be answered with something else.
    model_config = ConfigDict(extra="forbid")

    binary_data: bool | None = None


class RequestedOutput(_Request):
    """An output that is asked for."""

    name: Output
    parameters: OutputParameters = OutputParameters()


class InferenceParameters(_Request):
    """How all outputs are to travel that do not say it themselves."""

    binary_data_output: bool = False


class InferenceRequest(_Request):
    """The JSON of an inference request."""

    id: str | None = None
    parameters: InferenceParameters = InferenceParameters()
    inputs: Annotated[list[RequestedInput], Field(min_length=1, max_length=1), FailFast()]
    outputs: Annotated[list[RequestedOutput], Field(max_length=2), FailFast()] = []


class BinaryData(_Schema):
    """Says that a tensor follows the JSON."""

    binary_data_size: int


class Tensor(_Schema):
    """One output, here or, as binary data, after the JSON."""

    name: Output
    datatype: Literal["FP32"] = "FP32"
    shape: Annotated[list[int], Field(examples=[[1, 3]])]
    parameters: BinaryData | None = None
    data: Annotated[
        list[float] | None, Field(description="Row by row.", examples=[[0.91, 0.06, 0.03]])
    ] = None


class InferenceResponse(_Schema):
    """The JSON of an inference answer."""

    model_name: Annotated[str, Field(examples=["cifar10"])]
    model_version: Annotated[str, Field(examples=["1"])]
    id: Annotated[str | None, Field(description="That of the request.")] = None
    outputs: list[Tensor]
