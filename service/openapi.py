"""What /docs shows beyond the types: bodies, examples, problems."""

from typing import Any

_FILE = {"type": "string", "contentMediaType": "application/octet-stream", "format": "binary"}
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_MEANINGS = {
    400: "No picture in the request, or no readable form.",
    408: "The request took too long to arrive.",
    413: "Over a limit: bytes, pixels or files.",
    415: "Not a picture of an accepted format.",
    422: "A picture that cannot be decoded, or a parameter out of range.",
    503: "Loading, shutting down, or too many pictures waiting; try again after `Retry-After`.",
    504: "The answer missed its deadline.",
}

PREDICT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": _FILE}, "required": ["file"]}
            },
            "image/*": {"schema": _FILE},
        },
    }
}
PREDICT_BATCH: dict[str, Any] = {
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
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describes the problems that a route may answer with."""
    return {status: {"description": _MEANINGS[status], "content": _PROBLEM} for status in statuses}
