"""What /docs shows beyond the types: bodies, and an example of every answer and every error."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.http import problems
from service.http.schemas import Health, InferenceError, Live

Operation = dict[str, Any]  # keyword arguments of a route of FastAPI
Responses = dict[int | str, dict[str, Any]]


def _load(name: str) -> Any:  # noqa: ANN401
    return json.loads((Path(__file__).parent / "examples" / name).read_text())


_ANSWERS = _load("answers.json")  # by operation, status and name of the example
_PROBLEMS: dict[str, str] = _load("problems.json")  # an example of each problem's detail
_STATUSES: dict[str, str] = _load("statuses.json")  # what each status of an error means
_REQUEST_ID = "2a0f40f8a9e04aff8394aebcfa79156f"


def _examples(**values: object) -> dict[str, Any]:
    return {"examples": {name: {"value": value} for name, value in values.items()}}


def _answers(operation: str, status: int = 200, media_type: str = "application/json") -> Operation:
    """Examples of the answers of an operation with one status."""
    return {"content": {media_type: _examples(**_ANSWERS[operation][str(status)])}}


def _details(reasons: Sequence[str], details: dict[str, str]) -> dict[int, dict[str, str]]:
    """Details by status and reason of problems: the general examples, or those given."""
    groups: dict[int, dict[str, str]] = {}
    for reason in dict.fromkeys((*reasons, *details)):
        status = problems.BY_REASON[reason].status
        groups.setdefault(status, {})[reason] = details.get(reason, _PROBLEMS[reason])
    return groups


def _problems(*reasons: str, **details: str) -> Responses:
    """Describes the problems that a route may answer with, by an example of each."""
    own = {name.replace("_", "-"): detail for name, detail in details.items()}
    return {
        status: {
            "description": _STATUSES[str(status)],
            "content": {
                problems.MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    **_examples(
                        **{
                            reason: problems.document(reason, detail, _REQUEST_ID).model_dump()
                            for reason, detail in group.items()
                        }
                    ),
                }
            },
        }
        for status, group in _details(reasons, own).items()
    }


def _inference_errors(*reasons: str, **details: str) -> Responses:
    """Describes the errors of a route of the inference protocol, by an example of each."""
    own = {name.replace("_", "-"): detail for name, detail in details.items()}
    groups: dict[int | str, dict[str, str]] = dict(_details(reasons, own).items())
    groups["default"] = {"method": "/v2 does not answer DELETE; see /docs for what it does."}
    return {
        status: {
            "description": _STATUSES[str(status)],
            "model": InferenceError,
            "content": {
                "application/json": _examples(
                    **{reason: {"error": detail} for reason, detail in group.items()}
                )
            },
        }
        for status, group in groups.items()
    }


def _form(**fields: object) -> dict[str, Any]:
    return {"schema": {"type": "object", "properties": fields, "required": list(fields)}}


def _accepts(**content: object) -> Operation:
    media_types = {"form": "multipart/form-data", "raw": "application/octet-stream"}
    media_types["json"] = "application/json"
    body = {media_types[name]: description for name, description in content.items()}
    return {"requestBody": {"required": True, "content": body}}


def _json_body(**properties: object) -> Operation:
    schema = {"type": "object", "properties": properties}
    return {
        "requestBody": {"content": {"application/json": {"schema": schema, **_examples(plain={})}}}
    }


_FILE = {"type": "string", "contentMediaType": "application/octet-stream", "format": "binary"}
_KEY = ("unauthorized", "rate-limited")
_BODY = ("slow-body", "body-too-large", "unsupported-encoding")
_QUEUE = ("not-ready", "queue-full", "deadline-exceeded")
_FORM = ("missing-field", "malformed-form", "too-many-files")
_PICTURE = ("empty-upload", "too-many-pixels", "unsupported-format", "undecodable-image")

PREDICT: Operation = {
    "summary": "Classify one picture",
    "responses": {
        200: _answers("predict"),
        **_problems(*_FORM, *_PICTURE, *_BODY, *_QUEUE, "invalid-parameter", *_KEY),
    },
    "openapi_extra": _accepts(form=_form(file=_FILE), raw={"schema": _FILE}),
}
PREDICT_BATCH: Operation = {
    "summary": "Classify several pictures",
    "responses": {
        200: _answers("predict_batch"),
        **_problems(*_FORM, *_BODY, *_QUEUE, "invalid-parameter", *_KEY),
    },
    "openapi_extra": _accepts(form=_form(files={"type": "array", "items": _FILE})),
}
HEALTH: Operation = {
    "summary": "State of the service",
    "responses": {
        200: _answers("health"),
        503: {
            "description": "Loading, shutting down, or without a model that can be computed.",
            "model": Health,
            **_answers("health", 503),
        },
    },
}
CARD: Operation = {
    "summary": "Card of the model that answers",
    "responses": {
        200: {
            "content": {
                "application/json": {
                    "schema": {"type": "object"},
                    **_examples(**_ANSWERS["card"]["200"]),
                }
            }
        },
        **_problems(
            "not-ready",
            "unauthorized",
            not_served="The card of 'cifar10', version 1, is gone.",
        ),
    },
}
LIVE: Operation = {
    "summary": "Whether the process can compute",
    "responses": {
        200: _answers("live"),
        503: {
            "description": "This process cannot compute any more; only a new one can.",
            "model": Live,
            **_answers("live", 503),
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
                    **_examples(**_ANSWERS["metrics"]["200"]),
                }
            }
        },
        **_problems("unauthorized"),
    },
}
SERVER_METADATA: Operation = {
    "summary": "Name, version and extensions",
    "responses": {200: _answers("server_metadata"), **_inference_errors(*_KEY)},
}
SERVER_LIVE: Operation = {
    "summary": "Whether the process can compute",
    "responses": {
        200: _answers("server_live"),
        **_inference_errors(not_ready="The compute thread compute-0 has been stuck for 31 s."),
    },
}
SERVER_READY: Operation = {
    "summary": "Whether it can answer",
    "responses": {200: _answers("server_ready"), **_inference_errors("not-ready")},
}
MODEL_METADATA: Operation = {
    "summary": "Inputs and outputs of the model",
    "responses": {
        200: _answers("model_metadata"),
        **_inference_errors("not-served", "not-ready", *_KEY),
    },
}
MODEL_READY: Operation = {
    "summary": "Whether the model can answer",
    "responses": {
        200: _answers("model_ready"),
        **_inference_errors("not-served", "not-ready", *_KEY),
    },
}
_GREY = {
    "id": "42",
    "inputs": [
        {
            "name": "image",
            "datatype": "UINT8",
            "shape": [1, 32, 32, 3],
            "data": [127] * 32 * 32 * 3,
        }
    ],
}
INFER: Operation = {
    "summary": "Classify tensors of pictures",
    "responses": {
        200: {
            "content": {
                **_answers("infer")["content"],
                "application/octet-stream": {
                    "schema": {
                        **_FILE,
                        "description": "If binary data are asked for: the JSON, as long as "
                        "`Inference-Header-Content-Length` says, and after it the tensors.",
                    }
                },
            }
        },
        **_inference_errors(
            "invalid-inference-request",
            "not-served",
            *_BODY,
            *_QUEUE,
            *_KEY,
            empty_upload="The request is empty; send an inference request.",
            too_many_files="The batch holds more pictures than allowed (64); send fewer at a time.",
            invalid_parameter="Inference-Header-Content-Length: Input should be a valid integer, "
            "unable to parse string as an integer.",
        ),
    },
    "openapi_extra": _accepts(
        json={"schema": _load("inference_request_schema.json"), **_examples(grey=_GREY)},
        raw={
            "schema": {
                **_FILE,
                "description": "The JSON, with `binary_data_size` in the parameters of the "
                "input instead of `data`, and after it the bytes of the tensor.",
            }
        },
    ),
}
_ADMIN = ("unauthorized", "forbidden")
_DONE: Responses = {200: {"description": "Done, in all workers."}}
_NEVER_SERVED = "This service has one model, 'cifar10', and never 'mnist'."
REPOSITORY_INDEX: Operation = {
    "summary": "List the models and versions",
    "responses": {
        200: _answers("repository_index"),
        **_inference_errors(
            *_ADMIN,
            invalid_inference_request="The inference request is wrong: ready: "
            "Input should be a valid boolean.",
        ),
    },
    "openapi_extra": _json_body(ready={"type": "boolean", "description": "Only what is served."}),
}
REPOSITORY_LOAD: Operation = {
    "summary": "Load the model as it is in the repository",
    "responses": {
        **_DONE,
        **_inference_errors(
            *_ADMIN,
            "load-failed",
            not_served=_NEVER_SERVED,
            invalid_inference_request="The repository is the only source of models: "
            "send no parameters.",
        ),
    },
    "openapi_extra": _json_body(),
}
REPOSITORY_UNLOAD: Operation = {
    "summary": "Stop serving a model",
    "responses": {
        **_DONE,
        **_inference_errors(
            *_ADMIN,
            not_served=_NEVER_SERVED,
            load_failed="The service is shutting down.",
            invalid_inference_request="The inference request is wrong: parameters: "
            "Input should be a valid dictionary.",
        ),
    },
    "openapi_extra": _json_body(parameters={"type": "object"}),
}
