"""What /docs shows beyond the types: bodies, and an example of every answer and every error."""

from collections.abc import Iterable
from typing import Any

from fastapi.routing import APIRoute

from service.errors import (
    BodyTooLargeError,
    DeadlineExceededError,
    EmptyUploadError,
    ForbiddenError,
    InvalidInferenceRequestError,
    InvalidParameterError,
    LoadFailedError,
    MalformedFormError,
    MissingFieldError,
    NotReadyError,
    NotServedError,
    QueueFullError,
    RateLimitedError,
    ServiceError,
    SlowBodyError,
    TooManyFilesError,
    TooManyPixelsError,
    UnauthorizedError,
    UndecodableImageError,
    UnsupportedEncodingError,
    UnsupportedFormatError,
)
from service.http import problems
from service.http.schemas import Health, InferenceError, Live, Problem

Responses = dict[int | str, dict[str, Any]]
Operation = dict[str, Any]  # for the decorator of a route

_REQUEST_ID = "2a0f40f8a9e04aff8394aebcfa79156f"
_MEANINGS: dict[int | str, str] = {
    400: "Nothing that can be understood, or that fits the model.",
    401: "No API key, or an unknown one.",
    403: "No administration, or not with this key.",
    404: "Another model or version than the one served.",
    408: "The request took too long to arrive.",
    409: "The model cannot be loaded; the one before still serves.",
    413: "Over a limit: bytes, pixels or pictures.",
    415: "Not in an accepted format.",
    422: "A picture that cannot be decoded, or a parameter out of range.",
    429: "This key asks too often; try again after `Retry-After`.",
    503: "Loading, shutting down, or too much is waiting; try again after `Retry-After`.",
    504: "The answer missed its deadline.",
    "default": "Any other error.",
}


def operation_id(route: APIRoute) -> str:
    """Names an operation after its path, `predict_batch` say; generated clients take the name."""
    parts = route.path_format.strip("/").split("/")
    return "_".join(part for part in parts if not part.startswith("{"))


def _examples(**values: object) -> dict[str, Any]:
    return {"examples": {name: {"value": value} for name, value in values.items()}}


def _answer(**values: object) -> Responses:
    """Describes the answer of a route by examples."""
    return {200: {"content": {"application/json": _examples(**values)}}}


def _problems(*errors: ServiceError) -> Responses:
    """Describes the problems that a route may answer with, by an example of each."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": _MEANINGS[status],
            "content": {
                problems.MEDIA_TYPE: {
                    "schema": schema,
                    **_examples(**{name: problem.model_dump() for name, problem in group.items()}),
                }
            },
        }
        for status, group in _by_status(errors).items()
    }


def _inference_errors(*errors: ServiceError) -> Responses:
    """Describes the errors of a route of the inference protocol, by an example of each."""
    groups: dict[int | str, dict[str, str]] = {
        status: {name: problem.detail for name, problem in group.items()}
        for status, group in _by_status(errors).items()
    }
    groups["default"] = {"method": "/v2 does not answer DELETE; see /docs for what it does."}
    return {
        status: {
            "description": _MEANINGS[status],
            "model": InferenceError,
            "content": {
                "application/json": _examples(
                    **{name: {"error": detail} for name, detail in group.items()}
                )
            },
        }
        for status, group in groups.items()
    }


def _by_status(errors: Iterable[ServiceError]) -> dict[int, dict[str, Problem]]:
    groups: dict[int, dict[str, Problem]] = {}
    for error in errors:
        problem = problems.describe(error, _REQUEST_ID)
        groups.setdefault(problem.status, {})[problems.reason(error)] = problem
    return groups


_FILE = {"type": "string", "contentMediaType": "application/octet-stream", "format": "binary"}

_KEY = UnauthorizedError(
    "This needs an API key; send it as 'Authorization: Bearer <key>' or 'X-API-Key'."
)
_DOORS = (_KEY, RateLimitedError("This API key may ask 100/minute; try again in 3 s."))
_NOT_READY = NotReadyError("The model is still loading; try again in a moment.")
_BODY = (
    SlowBodyError("The request took longer than 60 s to arrive; send less at a time."),
    BodyTooLargeError("The request is over the limit of 20,000,000 bytes; send less at a time."),
)
_QUEUE = (
    _NOT_READY,
    QueueFullError(),
    DeadlineExceededError("The answer took too long; try again in a moment."),
)
_FORM = (
    MissingFieldError("The form has no file in the field 'file'; send it there."),
    MalformedFormError("The form is cut off before its end; send it again."),
    TooManyFilesError("The form holds more files than allowed (1); send fewer at a time."),
)
_TOP_K = InvalidParameterError("top_k: the model has 10 classes; ask for no more.")
_FORMAT = UnsupportedFormatError(
    "The upload is not a picture that can be read; send JPEG, PNG, WebP, GIF or BMP."
)
_PICTURE = (
    EmptyUploadError("The upload is empty; send the bytes of a picture."),
    TooManyPixelsError(
        "The picture has 60000 x 60000 pixels and the limit is 50,000,000 in all; "
        "send a smaller one."
    ),
    _FORMAT,
    UndecodableImageError(
        "The JPEG data are broken or cut off; open the picture, save it again and resend it."
    ),
)

_SERVED = {"model": "cifar10", "version": "1"}
_CAT = {
    "predictions": [
        {"label": "cat", "class_id": 3, "probability": 0.761272},
        {"label": "dog", "class_id": 5, "probability": 0.225517},
        {"label": "frog", "class_id": 6, "probability": 0.006936},
    ],
    "unfamiliar": False,
    "image": {"width": 451, "height": 300, "format": "JPEG"},
}

PREDICT: Operation = {
    "summary": "Classify one picture",
    "responses": {
        **_answer(picture=_SERVED | _CAT),
        **_problems(*_FORM, *_PICTURE, *_BODY, *_QUEUE, _TOP_K, *_DOORS),
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {"file": _FILE},
                        "required": ["file"],
                    }
                },
                "application/octet-stream": {"schema": _FILE},
            },
        }
    },
}
PREDICT_BATCH: Operation = {
    "summary": "Classify several pictures",
    "responses": {
        **_answer(
            pictures=_SERVED
            | {"results": [_CAT, {"error": problems.describe(_FORMAT, _REQUEST_ID).model_dump()}]}
        ),
        **_problems(*_FORM, *_BODY, *_QUEUE, _TOP_K, *_DOORS),
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {"files": {"type": "array", "items": _FILE}},
                        "required": ["files"],
                    }
                }
            },
        }
    },
}

_STATE = {
    "status": "ok",
    **_SERVED,
    "variant": "model.onnx",
    "provider": "CPUExecutionProvider",
    "requested_provider": "CPUExecutionProvider",
    "sha256": "dc0b4a4aa2b041a3976483811cf5a168f41e350ea9eb99f80b31ecd7cb3dc685",
    "uptime_s": 4.2,
}
_DEGRADED = {
    "status": "degraded",
    "requested_provider": "CUDAExecutionProvider",
    "reason": "CUDA cannot be used: no NVIDIA driver is visible (libcuda cannot be loaded).",
}
_LOST = "The compute thread compute-0 has been stuck for 31 s."
HEALTH: Operation = {
    "summary": "State of the service",
    "responses": {
        **_answer(ok=_STATE, degraded=_STATE | _DEGRADED),
        503: {
            "description": "Loading, shutting down, or without a model that can be computed.",
            "model": Health,
            "content": {
                "application/json": _examples(
                    loading={"status": "loading", "model": "cifar10", "uptime_s": 0.3},
                    draining=_STATE | {"status": "draining"},
                    unloaded={"status": "unloaded", "model": "cifar10", "uptime_s": 4.2},
                    failed=_STATE | {"status": "failed", "reason": _LOST},
                )
            },
        },
    },
}
_CARD = {
    "name": "cifar10",
    "version": 1,
    "labels": ["airplane", "automobile", "bird"],
    "metrics": {"model.onnx": {"test": {"pictures": 10000, "accuracy": 0.8535}}},
}
CARD: Operation = {
    "summary": "Card of the model that answers",
    "responses": {
        200: {
            "content": {
                "application/json": {"schema": {"type": "object"}, **_examples(excerpt=_CARD)}
            }
        },
        **_problems(NotServedError("The card of 'cifar10', version 1, is gone."), _NOT_READY, _KEY),
    },
}
LIVE: Operation = {
    "summary": "Whether the process can compute",
    "responses": {
        **_answer(live={"status": "ok"}),
        503: {
            "description": "This process cannot compute any more; only a new one can.",
            "model": Live,
            "content": {
                "application/json": _examples(failed={"status": "failed", "reason": _LOST})
            },
        },
    },
}
METRICS: Operation = {
    "summary": "Metrics for Prometheus",
    "responses": {
        200: {
            "content": {
                "text/plain": {
                    "schema": {"type": "string"},
                    **_examples(some='classifier_predictions_total{label="cat"} 2.0\n'),
                }
            }
        },
        **_problems(_KEY),
    },
}

_IMAGE = {"name": "image", "datatype": "UINT8"}
_PROBABILITIES = {"name": "probabilities", "datatype": "FP32"}
_ENERGY = {"name": "energy", "datatype": "FP32"}
_NOT_SERVED = NotServedError("There is no model 'mnist' here; this service has 'cifar10'.")

SERVER_METADATA: Operation = {
    "summary": "Name, version and extensions",
    "responses": {
        **_answer(
            server={
                "name": "cifar10-serve",
                "version": "1",
                "extensions": ["binary_tensor_data", "model_repository"],
            }
        ),
        **_inference_errors(*_DOORS),
    },
}
SERVER_LIVE: Operation = {
    "summary": "Whether the process can compute",
    "responses": {**_answer(live={"live": True}), **_inference_errors(NotReadyError(_LOST))},
}
SERVER_READY: Operation = {
    "summary": "Whether it can answer",
    "responses": {**_answer(ready={"ready": True}), **_inference_errors(_NOT_READY)},
}
MODEL_METADATA: Operation = {
    "summary": "Inputs and outputs of the model",
    "responses": {
        **_answer(
            model={
                "name": "cifar10",
                "versions": ["1"],
                "platform": "onnxruntime_onnx",
                "inputs": [_IMAGE | {"shape": [-1, 32, 32, 3]}],
                "outputs": [_PROBABILITIES | {"shape": [-1, 10]}, _ENERGY | {"shape": [-1]}],
            }
        ),
        **_inference_errors(_NOT_SERVED, _NOT_READY, *_DOORS),
    },
}
MODEL_READY: Operation = {
    "summary": "Whether the model can answer",
    "responses": {
        **_answer(ready={"name": "cifar10", "ready": True}),
        **_inference_errors(_NOT_SERVED, _NOT_READY, *_DOORS),
    },
}
_INFERENCE_REQUEST = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "Comes back with the answer."},
        "inputs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "enum": ["image"]},
                    "datatype": {"type": "string", "enum": ["UINT8"]},
                    "shape": {"type": "array", "items": {"type": "integer"}},
                    "data": {
                        "type": "array",
                        "description": "0 to 255; flat, or nested like the shape.",
                        "items": {},
                    },
                },
                "required": ["name", "datatype", "shape", "data"],
            },
        },
        "outputs": {
            "type": "array",
            "description": "All, if none is named.",
            "maxItems": 2,
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string", "enum": ["probabilities", "energy"]}},
                "required": ["name"],
            },
        },
    },
    "required": ["inputs"],
}
_GREY = {"id": "42", "inputs": [_IMAGE | {"shape": [1, 32, 32, 3], "data": [127] * 32 * 32 * 3}]}
_OUTPUTS = {
    "model_name": "cifar10",
    "model_version": "1",
    "id": "42",
    "outputs": [
        _PROBABILITIES
        | {
            "shape": [1, 10],
            "data": [0.29, 0.01, 0.173, 0.068, 0.053, 0.025, 0.064, 0.008, 0.293, 0.016],
        },
        _ENERGY | {"shape": [1], "data": [3.08]},
    ],
}
INFER: Operation = {
    "summary": "Classify tensors of pictures",
    "responses": {
        200: {
            "content": {
                "application/json": _examples(outputs=_OUTPUTS),
                "application/octet-stream": {
                    "schema": {
                        **_FILE,
                        "description": "If binary data were asked for: the JSON, as long as "
                        "`Inference-Header-Content-Length` says, and after it the tensors.",
                    }
                },
            }
        },
        **_inference_errors(
            EmptyUploadError("The request is empty; send an inference request."),
            InvalidInferenceRequestError("The shape of `image` must be [pictures, 32, 32, 3]."),
            _NOT_SERVED,
            *_BODY,
            TooManyFilesError(
                "The batch holds more pictures than allowed (64); send fewer at a time."
            ),
            UnsupportedEncodingError("The body is compressed; send it without Content-Encoding."),
            InvalidParameterError(
                "Inference-Header-Content-Length: Input should be a valid integer, "
                "unable to parse string as an integer."
            ),
            *_QUEUE,
            *_DOORS,
        ),
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _INFERENCE_REQUEST, **_examples(grey=_GREY)},
                "application/octet-stream": {
                    "schema": {
                        **_FILE,
                        "description": "The JSON, with `binary_data_size` in the parameters of the "
                        "input instead of `data`, and after it the bytes of the tensor.",
                    }
                },
            },
        }
    },
}

_NO_ADMINISTRATION = ForbiddenError("Administration is off: the service has no CIFAR10_ADMIN_KEYS.")
_PARAMETERS = InvalidInferenceRequestError(
    "The repository is the only source of models: send no parameters."
)
_NEVER_SERVED = NotServedError("This service has one model, 'cifar10', and never 'mnist'.")
_REFUSED = LoadFailedError(
    "models/cifar10/2/model.onnx has not the sha256 that its card states: the file was changed or "
    "damaged; publish the model again, or restore both files from a good copy."
)
_DONE: Responses = {200: {"description": "Done, in all workers."}}


def _body(**properties: object) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties}
    return {
        "requestBody": {"content": {"application/json": {"schema": schema, **_examples(plain={})}}}
    }


REPOSITORY_INDEX: Operation = {
    "summary": "List the models and versions",
    "responses": {
        **_answer(
            versions=[
                {"name": "cifar10", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
                {"name": "cifar10", "version": "2", "state": "READY"},
            ]
        ),
        **_inference_errors(
            InvalidInferenceRequestError(
                "The inference request is wrong: ready: Input should be a valid boolean."
            ),
            _KEY,
            _NO_ADMINISTRATION,
        ),
    },
    "openapi_extra": _body(ready={"type": "boolean", "description": "Only what is served."}),
}
REPOSITORY_LOAD: Operation = {
    "summary": "Load the model as it is in the repository",
    "responses": {
        **_DONE,
        **_inference_errors(_PARAMETERS, _KEY, _NO_ADMINISTRATION, _NEVER_SERVED, _REFUSED),
    },
    "openapi_extra": _body(),
}
REPOSITORY_UNLOAD: Operation = {
    "summary": "Stop serving a model",
    "responses": {
        **_DONE,
        **_inference_errors(
            InvalidInferenceRequestError(
                "The inference request is wrong: parameters: Input should be a valid dictionary."
            ),
            _KEY,
            _NO_ADMINISTRATION,
            _NEVER_SERVED,
            LoadFailedError("The service is shutting down."),
        ),
    },
    "openapi_extra": _body(parameters={"type": "object"}),
}
