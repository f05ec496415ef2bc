"""The answers of the API, as OpenAPI describes them."""

from typing import Any, Literal

from pydantic import Field

from service.inference.model_server import Status
from service.v2.model import Schema


class Prediction(Schema):
    """One class and how probable it is."""

    label: str = Field(examples=["ship"])
    class_id: int = Field(examples=[8])
    probability: float = Field(ge=0, le=1, examples=[0.9731])


class ImageFacts(Schema):
    """What was uploaded."""

    width: int = Field(description="Pixels, once upright.", examples=[640])
    height: int = Field(description="Pixels, once upright.", examples=[480])
    format: str = Field(examples=["JPEG"])


class Problem(Schema):
    """A problem document (RFC 9457)."""

    type: str = Field(
        description="The kind of problem; a name to compare, not an address to open.",
        examples=["urn:cifar10-serve:problem:empty-upload"],
    )
    title: str = Field(examples=["Empty upload"])
    status: int = Field(description="The HTTP status.", examples=[400])
    detail: str = Field(
        description="What is wrong and what to do.",
        examples=["The upload is empty; send the bytes of a picture."],
    )
    request_id: str = Field(
        description="Quote it when you report the problem.",
        examples=["2a0f40f8a9e04aff8394aebcfa79156f"],
    )


class Result(Schema):
    """The answer for one picture."""

    predictions: list[Prediction] = Field(description="Most probable first.")
    unfamiliar: bool = Field(
        description="The picture is unlike the training data: trust it less.", examples=[False]
    )
    image: ImageFacts
    label_set: list[str] | None = Field(
        None,
        description="Where a coverage was asked for: the classes that together hold the right one "
        "in this share of pictures, most probable first. It may be empty.",
        examples=[["cat", "dog"]],
    )


class Served(Schema):
    """Which model answered."""

    model: str = Field(examples=["cifar10"])
    version: str = Field(examples=["1"])


class PredictResponse(Result, Served):
    """Answer of /predict."""

    input: str | None = Field(
        None, description="The picture as the model saw it: a data URL of a PNG."
    )


class Failure(Schema):
    """The error of one picture of a batch."""

    error: Problem


class BatchResponse(Served):
    """Answer of /predict/batch."""

    results: list[Result | Failure] = Field(description="In the order of the files.")


class InferenceError(Schema):
    """An error of the inference protocol."""

    error: str = Field(
        description="What is wrong and what to do.",
        examples=["The shape of `image` must be [pictures, 32, 32, 3]."],
    )


class ModelState(Schema):
    """One version of a model, or a model that has none that is served."""

    model: str = Field(examples=["cifar10"])
    version: str | None = Field(None, examples=["3"])
    variant: str | None = Field(None, description="Its file.", examples=["model.int8.onnx"])
    provider: str | None = Field(None, examples=["CPUExecutionProvider"])
    requested_provider: str | None = Field(None, examples=["CPUExecutionProvider"])
    sha256: str | None = None
    status: Literal["ok", "degraded", "failed", "unloaded"] = Field(
        description="degraded: it answers, yet not on the provider that was asked for, or as a "
        "version of before. failed and unloaded: it does not answer."
    )
    reason: str | None = Field(None, description="Why it is degraded or failed.")


class Models(Schema):
    """All models of the service."""

    default: str = Field(
        description="Name of the model that answers where none is named.", examples=["cifar10"]
    )
    models: list[ModelState] = Field(
        description="Of each model first the version that answers where none is named."
    )


class ModelDocument(ModelState):
    """One version of a model with its card."""

    versions: list[str] = Field(description="All versions that are served.", examples=[["3"]])
    card: dict[str, Any] = Field(
        description="The card that was verified with the file: origin, training, figures."
    )


class Health(Schema):
    """State of the service; the fields from `model` to `sha256` are those of the default model."""

    status: Status
    model: str
    version: str | None = None
    variant: str | None = None
    provider: str | None = None
    requested_provider: str | None = None
    sha256: str | None = None
    uptime_s: float
    models: list[ModelState] = Field([], description="The other models.")
    reason: str | None = Field(
        None,
        description="Why the provider is not the one asked for, a model is not loaded, or nothing "
        "is computed.",
    )
    warning: str | None = Field(
        None, description="What else is not as it should be: a change of model that failed, say."
    )


class Live(Schema):
    """The process answers."""

    status: Literal["ok", "failed"] = "ok"
    reason: str | None = Field(None, description="Why only a new process can compute.")
