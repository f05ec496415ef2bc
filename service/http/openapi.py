"""Descriptions for /docs: bodies, and an example of every answer and every error.

`examples/operations.json` describes each operation in the words of OpenAPI. Its errors are listed
by their reasons, with a detail where `examples/problems.json` has another one.
"""

import json
from pathlib import Path
from typing import Any

from service.http import problems, schemas

Operation = dict[str, Any]  # keyword arguments of a route of FastAPI

_REQUEST_ID = "2a0f40f8a9e04aff8394aebcfa79156f"


def _load(name: str) -> Any:  # noqa: ANN401
    return json.loads((Path(__file__).parent / "examples" / name).read_text())


_OPERATIONS: dict[str, dict[str, Any]] = _load("operations.json")
_PROBLEMS: dict[str, str] = _load("problems.json")
_STATUSES: dict[str, str] = _load("statuses.json")  # what each status of an error means


def describe(name: str, *, names_model: bool = False) -> Operation:
    """The description of one operation.

    Args:
        name: its name in operations.json.
        names_model: whether its path names a model, which may not be served.
    """
    operation = _OPERATIONS[name]
    responses: dict[int | str, dict[str, Any]] = {}
    for status, response in operation["responses"].items():
        models = {"model": getattr(schemas, response["model"])} if "model" in response else {}
        responses[int(status)] = {**response, **models}
    if "problems" in operation:
        missing = {"not-served": None} if names_model else {}
        responses |= _errors(operation["problems"] | missing, are_problems=True)
    if "inference_errors" in operation:
        responses |= _errors(operation["inference_errors"], are_problems=False)
    described = {"summary": operation["summary"], "responses": responses}
    if "request" in operation:
        described["openapi_extra"] = {"requestBody": operation["request"]}
    return described


def _errors(
    details: dict[str, str | None], *, are_problems: bool
) -> dict[int | str, dict[str, Any]]:
    """Describes the errors that a route may answer with, by an example of each."""
    responses: dict[int | str, dict[str, Any]] = {}
    for reason, own in details.items():
        detail = own or _PROBLEMS[reason]
        if are_problems:
            media_type = problems.MEDIA_TYPE
            example = _problem(reason, detail).model_dump()
            media: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Problem"}}
            response: dict[str, Any] = {}
        else:
            media_type, example, media = "application/json", {"error": detail}, {}
            response = {"model": schemas.InferenceError}
        status = problems.BY_REASON[reason].status if reason in problems.BY_REASON else reason
        response |= {"description": _STATUSES[str(status)], "content": {media_type: media}}
        content = responses.setdefault(status, response)["content"][media_type]
        content.setdefault("examples", {})[reason] = {"value": example}
    return responses


def _problem(reason: str, detail: str) -> schemas.Problem:
    if reason != "default":
        return problems.document(reason, detail, _REQUEST_ID)
    return schemas.Problem(
        type="about:blank",
        title="Method Not Allowed",
        status=405,
        detail=detail,
        request_id=_REQUEST_ID,
    )
