"""POST /predict and /predict/batch.

The answers are written as plain objects, at once to JSON: to make and to validate the models in
`schemas.py`, which document them, would take longer than to read the request. A test holds the two
together.
"""

import base64
import io
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from PIL import Image
from pydantic_core import to_json

from service.errors import InvalidParameterError, MissingFieldError, ServiceError
from service.http import openapi, problems
from service.http.multipart import is_form, read_body, read_files
from service.http.routes.waiting import Timeout, classify
from service.http.schemas import BatchResponse, PredictResponse
from service.inference.classifier import Classification, ModelInfo
from service.inference.model_server import ModelServer

DEFAULT_TOP_K = 5

router = APIRouter(tags=["predict"])

TopK = Annotated[
    int | None, Query(ge=1, description="How many classes to return; 5 if the model has as many.")
]
IncludeInput = Annotated[bool, Query(description="Return the picture as the model saw it, too.")]


@router.post("/predict", response_model=PredictResponse, **openapi.PREDICT)
async def predict(
    request: Request,
    top_k: TopK = None,
    include_input: IncludeInput = False,
    timeout_ms: Timeout = None,
) -> Response:
    """Classifies one picture, sent as the body or as the field `file` of a form."""
    model_server: ModelServer = request.app.state.model_server
    classifier = model_server.classifier
    model = classifier.model
    k = _check_top_k(top_k, len(model.labels))
    if is_form(request):
        fields = model_server.settings.max_form_fields
        upload = (await read_files(request, "file", max_files=1, max_fields=fields))[0]
    else:
        upload = await read_body(request)
    answer = (await classify(request, classifier, [upload], timeout_ms))[0]
    if isinstance(answer, Exception):
        raise answer
    document = _served(model) | _result(answer, k)
    if include_input:
        document["input"] = _data_url(answer)
    return _respond(document)


@router.post("/predict/batch", response_model=BatchResponse, **openapi.PREDICT_BATCH)
async def predict_batch(
    request: Request, top_k: TopK = None, timeout_ms: Timeout = None
) -> Response:
    """Classifies the pictures in the field `files` of a form, which is repeated for each."""
    model_server: ModelServer = request.app.state.model_server
    classifier = model_server.classifier
    model = classifier.model
    k = _check_top_k(top_k, len(model.labels))
    if not is_form(request):
        raise MissingFieldError(
            "Send a multipart form with the pictures in the field 'files', repeated for each."
        )
    limits = model_server.settings
    uploads = await read_files(
        request, "files", max_files=limits.max_files, max_fields=limits.max_form_fields
    )
    results: list[dict[str, Any]] = []
    for answer in await classify(request, classifier, uploads, timeout_ms):
        if isinstance(answer, ServiceError):
            model_server.metrics.count_rejection(problems.reason(answer))
            problem = problems.describe(answer, request.state.request_id)
            results.append({"error": problem.model_dump()})
        elif isinstance(answer, Exception):
            raise answer
        else:
            results.append(_result(answer, k))
    return _respond({**_served(model), "results": results})


def _check_top_k(top_k: int | None, classes: int) -> int:
    if top_k is None:
        return min(DEFAULT_TOP_K, classes)
    if top_k > classes:
        raise InvalidParameterError(f"top_k: the model has {classes} classes; ask for no more.")
    return top_k


def _served(model: ModelInfo) -> dict[str, Any]:
    return {"model": model.name, "version": str(model.version)}


def _result(answer: Classification, k: int) -> dict[str, Any]:
    facts = answer.image
    return {
        "predictions": [
            # As `round(probability, 6)`, which would print and parse each.
            {"label": label, "class_id": class_id, "probability": round(probability * 1e6) / 1e6}
            for label, class_id, probability in answer.top(k)
        ],
        "unfamiliar": answer.unfamiliar,
        "image": {"width": facts.width, "height": facts.height, "format": facts.format},
    }


def _respond(document: dict[str, Any]) -> Response:
    return Response(to_json(document), media_type="application/json")


def _data_url(answer: Classification) -> str:
    png = io.BytesIO()
    Image.fromarray(answer.pixels).save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
