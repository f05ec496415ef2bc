"""The requests and answers of the V1 protocol of TensorFlow Serving and KServe."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.v2.model import Schema


class ModelList(Schema):
    """The models that are served."""

    models: list[str] = Field(examples=[["cifar10"]])


class NoError(Schema):
    """There is no error."""

    error_code: Literal["OK"] = "OK"
    error_message: Literal[""] = ""


class VersionStatus(Schema):
    """A version that answers, as TensorFlow Serving shows it."""

    version: str = Field(examples=["1"])
    state: Literal["AVAILABLE"] = "AVAILABLE"
    status: NoError = NoError()


class ModelStatus(Schema):
    """The model can answer: `ready` is for KServe's clients, the rest for TensorFlow Serving's."""

    name: str = Field(examples=["cifar10"])
    ready: Literal[True] = True
    model_version_status: list[VersionStatus]


class InstancesRequest(BaseModel):
    """Pictures; other keys, such as `signature_name`, are ignored."""

    model_config = ConfigDict(frozen=True, strict=True)

    instances: Annotated[list[Any], Field(min_length=1)]


class ClassifiedInstance(Schema):
    """The answer for one picture: the outputs of the model, and their meaning."""

    label: str = Field(description="The most probable class.", examples=["cat"])
    class_id: int = Field(examples=[3])
    probabilities: list[float] = Field(description="Of all classes, in their order.")
    energy: float = Field(description="Higher is more familiar.", examples=[3.08])
    unfamiliar: bool = Field(
        description="The picture is unlike the training data: trust it less.", examples=[False]
    )


class InstancesResponse(Schema):
    """The answers, in the order of the pictures."""

    predictions: list[ClassifiedInstance]
