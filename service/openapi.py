"""What /docs shows beyond the types: bodies, examples, problems."""

from typing import Any

from service.schemas import InferenceError

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
_PICTURE_TENSOR = {"name": "image", "datatype": "UINT8", "shape": [1, 32, 32, 3]}
INFER: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
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
                                "properties": {
                                    "name": {"type": "string", "enum": ["probabilities", "energy"]}
                                },
                                "required": ["name"],
                            },
                        },
                    },
                    "required": ["inputs"],
                },
                "example": {"inputs": [{**_PICTURE_TENSOR, "data": [127] * (32 * 32 * 3)}]},
            },
            "application/octet-stream": {
                "schema": {
                    **_FILE,
                    "description": "The JSON, with `binary_data_size` in the parameters of the "
                    "input instead of `data`, and after it the bytes of the tensor.",
                }
            },
        },
    },
    "responses": {
        "200": {
            "content": {
                "application/octet-stream": {
                    "schema": {
                        **_FILE,
                        "description": "If binary data were asked for: the JSON, as long as "
                        "`Inference-Header-Content-Length` says, and after it the tensors.",
                    }
                }
            }
        }
    },
}
_INFERENCE_MEANINGS: dict[int | str, str] = {
    400: "No inference request, or its tensors do not fit the model.",
    404: "Another model or version than the one served.",
    408: _MEANINGS[408],
    413: "Over a limit: bytes or pictures.",
    415: "A compressed body.",
    422: "A header that is no number.",
    503: _MEANINGS[503],
    504: _MEANINGS[504],
    "default": "Any other error.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describes the problems that a route may answer with."""
    return {status: {"description": _MEANINGS[status], "content": _PROBLEM} for status in statuses}


def inference_errors(*statuses: int | str) -> dict[int | str, dict[str, Any]]:
    """Describes the errors that a route of the inference protocol may answer with."""
    return {
        status: {"description": _INFERENCE_MEANINGS[status], "model": InferenceError}
        for status in (*statuses, "default")
    }
