"""What /docs shows beyond the types: bodies, and an example of every answer and every error.

`examples/operations.json` describes each operation in the words of OpenAPI. Its errors are listed
by their reasons, with a detail where `examples/problems.json` has another one.
"""

import json
from pathlib import Path
from typing import Any

from service.http import problems, schemas

Operation = dict[str, Any]  # keyword arguments of a route of FastAPI
Details = dict[str, str | None]  # by reason; None: the detail in problems.json

_REQUEST_ID = "2a0f40f8a9e04aff8394aebcfa79156f"


def _load(name: str) -> Any:  # noqa: ANN401
    return json.loads((Path(__file__).parent / "examples" / name).read_text())


_OPERATIONS: dict[str, dict[str, Any]] = _load("operations.json")
_PROBLEMS: dict[str, str] = _load("problems.json")
_STATUSES: dict[str, str] = _load("statuses.json")  # what each status of an error means


def describe(name: str) -> Operation:
    """The description of one operation.

    Args:
        name: its name in operations.json.
    """
    operation = _OPERATIONS[name]
    responses: dict[int | str, dict[str, Any]] = {}
    for status, response in operation["responses"].items():
        models = {"model": getattr(schemas, response["model"])} if "model" in response else {}
        responses[int(status)] = {**response, **models}
    responses |= _problems(operation.get("problems", {}))
    if "inference_errors" in operation:
        responses |= _inference_errors(operation["inference_errors"])
    described = {"summary": operation["summary"], "responses": responses}
    if "request" in operation:
        described["openapi_extra"] = {"requestBody": operation["request"]}
    return described


def _problems(details: Details) -> dict[int | str, dict[str, Any]]:
    """Describes the problems that a route may answer with, by an example of each."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": _STATUSES[str(status)],
            "content": {
                problems.MEDIA_TYPE: {
                    "schema": schema,
                    "examples": {
                        reason: {
                            "value": problems.document(reason, detail, _REQUEST_ID).model_dump()
                        }
                        for reason, detail in group.items()
                    },
                }
            },
        }
        for status, group in _by_status(details).items()
    }


def _inference_errors(details: Details) -> dict[int | str, dict[str, Any]]:
    """Describes the errors of a route of the inference protocol, by an example of each."""
    groups = _by_status(details)
    groups["default"] = {"method": "/v2 does not answer DELETE; see /docs for what it does."}
    return {
        status: {
            "description": _STATUSES[str(status)],
            "model": schemas.InferenceError,
            "content": {
                "application/json": {
                    "examples": {
                        reason: {"value": {"error": detail}} for reason, detail in group.items()
                    }
                }
            },
        }
        for status, group in groups.items()
    }


def _by_status(details: Details) -> dict[int | str, dict[str, str]]:
    groups: dict[int | str, dict[str, str]] = {}
    for reason, detail in details.items():
        status = problems.BY_REASON[reason].status
        groups.setdefault(status, {})[reason] = detail or _PROBLEMS[reason]
    return groups
