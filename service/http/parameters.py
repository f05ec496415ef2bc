"""Query, headers and JSON of requests, checked by models."""

import functools
from typing import Annotated, TypeVar

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import QueryParams
from starlette.requests import Request

from service.errors import (
    BodyTooLargeError,
    InvalidInferenceRequestError,
    InvalidParameterError,
)
from service.http.context import context_of

# JSON is parsed on the event loop, which it holds for a few milliseconds at this size. What takes
# time is what stands outside its strings: a long string, such as a picture in base64, is only
# copied, unless it has escapes.
MAX_JSON_BYTES = 150_000
MAX_JSON_AND_STRINGS_BYTES = 5_000_000
_STRING_COST = 100  # bytes outside of strings that take as long as one more string
HEADER_LENGTH = "Inference-Header-Content-Length"
_DAY_MS = 86_400_000
_MAX_TEXT = 300

ModelName = Annotated[str, Path(examples=["cifar10"])]
ModelVersion = Annotated[str, Path(examples=["1"])]
Model = TypeVar("Model", bound=BaseModel)


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class BatchQuery(_Parameters):
    """Query of /predict/batch."""

    top_k: int | None = Field(None, ge=1)
    """How many classes to return; 5 if the model has as many."""
    coverage: float | None = Field(None, gt=0, lt=1, examples=[0.95])
    """Return `label_set`, too: the classes that together hold the right one in this share of
    pictures like those that the model was measured on."""


class PredictQuery(BatchQuery):
    """Query of /predict."""

    include_input: bool = False
    """Return the picture as the model sees it as well."""


class DeadlineHeader(_Parameters):
    """The header by which clients limit the time of their request."""

    timeout_ms: int | None = Field(None, alias="X-Request-Timeout-Ms", ge=1, le=_DAY_MS)
    """Longest time for the request in milliseconds; the service has a limit of its own."""


class InferHeaders(DeadlineHeader):
    """The headers of /infer."""

    json_bytes: int | None = Field(None, alias=HEADER_LENGTH, ge=0)
    """Bytes of the JSON before binary data."""


def read_query(request: Request, model: type[Model]) -> Model:
    """Reads the query of a request.

    Raises:
        InvalidParameterError: a parameter is out of range or unknown.
    """
    query = request.scope["query_string"]
    sent = dict(QueryParams(query)) if query else {}
    if unknown := sent.keys() - model.model_fields.keys():
        name, known = min(unknown)[:_MAX_TEXT], ", ".join(model.model_fields)
        raise InvalidParameterError(f"{name}: there is no such parameter; there are {known}.")
    return _validate(model, sent)


def read_headers(request: Request, model: type[Model]) -> Model:
    """Reads the headers of a request that a model names.

    Raises:
        InvalidParameterError: a header is out of range.
    """
    headers = context_of(request.scope).headers
    sent = {
        alias: headers[name].decode("latin-1")
        for name, alias in _aliases(model).items()
        if name in headers
    }
    return _validate(model, sent)


@functools.cache
def _aliases(model: type[BaseModel]) -> dict[bytes, str]:
    """The headers of a model: their names in lower case, and as the model names them."""
    aliases = [field.alias or name for name, field in model.model_fields.items()]
    return {alias.lower().encode(): alias for alias in aliases}


@functools.cache
def _defaults(model: type[Model]) -> Model:
    return model()


def check_json_size(size: int) -> None:
    """Refuses JSON that is too large, whatever it holds.

    Raises:
        BodyTooLargeError: it has more than `MAX_JSON_AND_STRINGS_BYTES`.
    """
    if size > MAX_JSON_AND_STRINGS_BYTES:
        raise BodyTooLargeError(
            f"The JSON is over the limit of {MAX_JSON_AND_STRINGS_BYTES:,} bytes; "
            "send pictures to /predict, or tensors as binary data."
        )


def read_json(data: bytes, model: type[Model]) -> Model:
    """Reads the JSON of an inference protocol.

    Raises:
        BodyTooLargeError: it would take too long to parse.
        InvalidInferenceRequestError: it is not what the model describes.
    """
    check_json_size(len(data))
    if len(data) > MAX_JSON_BYTES and _is_slow(data):
        raise BodyTooLargeError(
            "The JSON without its long strings, if they have no escapes, is over the limit of "
            f"{MAX_JSON_BYTES:,} bytes; send tensors as binary data instead."
        )
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        text = f"The inference request is wrong: {_first_error(error)}."
        raise InvalidInferenceRequestError(text) from error


def _is_slow(data: bytes) -> bool:
    """Whether long JSON is more than a few long strings; takes about as long as to copy it."""
    if not data.isascii() or b"\\" in data:
        return True  # without escapes each quote begins or ends a string
    outside, end = 0, -1
    while outside <= MAX_JSON_BYTES:
        start = data.find(b'"', end + 1)
        if start < 0:
            return outside + len(data) - end > MAX_JSON_BYTES
        outside += start - end + _STRING_COST
        end = data.find(b'"', start + 1)
        if end < 0:
            return False  # a string without an end
    return True


def _validate(model: type[Model], values: dict[str, str]) -> Model:
    try:
        return model.model_validate(values) if values else _defaults(model)
    except ValidationError as error:
        raise InvalidParameterError(f"{_first_error(error)}.") from error


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    text = f"{where}: {first['msg']}" if where else first["msg"]
    return text[:_MAX_TEXT]  # a key that is not allowed stands in it, whatever its length
