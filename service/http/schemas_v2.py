"""The requests and answers of the Open Inference Protocol, in the names of the artifact."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator

from service.http.not_offered import SHARED_MEMORY
from service.v2.model import Schema

Output = Literal["probabilities", "energy"]


class ServerMetadata(Schema):
    """What this server is."""

    name: str = Field(examples=["cifar10-serve"])
    version: str = Field(description="The release.", examples=["0.1.0"])
    extensions: list[str] = Field(examples=[["binary_tensor_data"]])


class ServerLive(Schema):
    """The process answers."""

    live: Literal[True] = True


class ServerReady(Schema):
    """The service can answer."""

    ready: bool


class ModelReady(ServerReady):
    """The model can answer."""

    name: str = Field(examples=["cifar10"])


class _Request(BaseModel):
    # Lists fail at their first wrong item: a report on a million of them would take gigabytes.
    model_config = ConfigDict(frozen=True, strict=True)


class RepositoryIndexRequest(_Request):
    """Which models of the repository to list."""

    ready: bool = False


class RepositoryRequest(_Request):
    """How a model is to be loaded or unloaded."""

    parameters: dict[str, Any] = {}


class _TensorParameters(_Request):
    # Other parameters are hints, which are ignored. A tensor in shared memory cannot be ignored.
    shared_memory_region: Any = None

    @model_validator(mode="after")
    def _refuse_shared_memory(self) -> Self:
        if self.shared_memory_region is not None:
            raise ValueError(SHARED_MEMORY.rstrip("."))
        return self


class InputParameters(_TensorParameters):
    """The form of an input."""

    binary_data_size: int | None = None


class RequestedInput(_Request):
    """A batch of pictures, here or, as binary data, after the JSON.

    As UINT8 it is their pixels, in the size of the model, and as BYTES their files: JPEG and so on,
    in base64 if they are here.
    """

    name: Literal["image"]
    datatype: Literal["UINT8", "BYTES"]
    shape: Annotated[list[int], FailFast()]
    parameters: InputParameters = InputParameters()
    data: list[Any] | None = None


class OutputParameters(_TensorParameters):
    """The form of an output.

    With `classification` it contains that many of the most probable classes.
    """

    binary_data: bool | None = None
    classification: int = Field(0, ge=0)


class RequestedOutput(_Request):
    """A requested output."""

    name: Output
    parameters: OutputParameters = OutputParameters()

    @model_validator(mode="after")
    def _refuse_classes_of_energy(self) -> Self:
        if self.name == "energy" and self.parameters.classification:
            raise ValueError("`energy` has no classes; ask for those of `probabilities`")
        return self


class InferenceParameters(_Request):
    """The form of all outputs that do not state their own."""

    binary_data_output: bool = False


class InferenceRequest(_Request):
    """The JSON of an inference request."""

    id: str | None = None
    parameters: InferenceParameters = InferenceParameters()
    inputs: Annotated[list[RequestedInput], Field(min_length=1, max_length=1), FailFast()]
    outputs: Annotated[list[RequestedOutput], Field(max_length=2), FailFast()] = []

    @model_validator(mode="after")
    def _refuse_repeated_outputs(self) -> Self:
        if len({output.name for output in self.outputs}) < len(self.outputs):
            raise ValueError(f"output {self.outputs[0].name!r} is asked for twice")
        return self


class BinaryData(Schema):
    """Says that a tensor follows the JSON."""

    binary_data_size: int


class Tensor(Schema):
    """One output, here or, as binary data, after the JSON."""

    name: Output
    datatype: Literal["FP32", "BYTES"] = "FP32"
    shape: Annotated[list[int], Field(examples=[[1, 3]])]
    parameters: BinaryData | None = None
    data: list[float] | list[str] | None = Field(
        None,
        description="Row by row; of classes `probability:class id:label`.",
        examples=[[0.91, 0.06, 0.03]],
    )


class InferenceResponse(Schema):
    """The JSON of an inference answer."""

    model_name: str = Field(examples=["cifar10"])
    model_version: str = Field(examples=["1"])
    id: str | None = Field(None, description="That of the request.")
    outputs: list[Tensor]
