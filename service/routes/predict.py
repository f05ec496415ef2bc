"""POST /predict and /predict/batch."""

import base64
import io
from typing import Annotated

from fastapi import APIRouter, Query, Request
from PIL import Image

from service import openapi, problems
from service.classifier import Classification
from service.errors import InvalidParameterError, MissingFieldError, ServiceError
from service.routes.forms import is_form, read_files
from service.routes.waiting import Timeout, classify
from service.runtime import Runtime
from service.schemas import (
    BatchResponse,
    Failure,
    ImageFacts,
    Prediction,
    PredictResponse,
    Result,
)

DEFAULT_TOP_K = 5

router = APIRouter(tags=["predict"])

TopK = Annotated[
    int | None, Query(ge=1, description="How many classes to return; 5 if the model has as many.")
]
IncludeInput = Annotated[bool, Query(description="Return the picture as the model saw it, too.")]


@router.post("/predict", response_model_exclude_none=True, **openapi.PREDICT)
async def predict(
    request: Request,
    top_k: TopK = None,
    include_input: IncludeInput = False,
    timeout_ms: Timeout = None,
) -> PredictResponse:
    """Classifies one picture, sent as the body or as the field `file` of a form."""
    runtime: Runtime = request.app.state.runtime
    classifier = runtime.classifier
    model = classifier.model
    k = _check_top_k(top_k, len(model.labels))
    if is_form(request):
        fields = runtime.settings.max_form_fields
        upload = (await read_files(request, "file", max_files=1, max_fields=fields))[0]
    else:
        upload = await request.body()
    answer = (await classify(request, classifier, [upload], timeout_ms))[0]
    if isinstance(answer, Exception):
        raise answer
    return PredictResponse(
        model=model.name,
        version=str(model.version),
        predictions=_predictions(answer, k),
        unfamiliar=answer.unfamiliar,
        image=_facts(answer),
        input=_data_url(answer) if include_input else None,
    )


@router.post("/predict/batch", **openapi.PREDICT_BATCH)
async def predict_batch(
    request: Request, top_k: TopK = None, timeout_ms: Timeout = None
) -> BatchResponse:
    """Classifies the pictures in the field `files` of a form, which is repeated for each."""
    runtime: Runtime = request.app.state.runtime
    classifier = runtime.classifier
    model = classifier.model
    k = _check_top_k(top_k, len(model.labels))
    if not is_form(request):
        raise MissingFieldError(
            "Send a multipart form with the pictures in the field 'files', repeated for each."
        )
    limits = runtime.settings
    uploads = await read_files(
        request, "files", max_files=limits.max_files, max_fields=limits.max_form_fields
    )
    results: list[Result | Failure] = []
    for answer in await classify(request, classifier, uploads, timeout_ms):
        if isinstance(answer, ServiceError):
            runtime.metrics.count_rejection(problems.reason(answer))
            results.append(Failure(error=problems.describe(answer, request.state.request_id)))
        elif isinstance(answer, Exception):
            raise answer
        else:
            results.append(
                Result(
                    predictions=_predictions(answer, k),
                    unfamiliar=answer.unfamiliar,
                    image=_facts(answer),
                )
            )
    return BatchResponse(model=model.name, version=str(model.version), results=results)


def _check_top_k(top_k: int | None, classes: int) -> int:
    if top_k is None:
        return min(DEFAULT_TOP_K, classes)
    if top_k > classes:
        raise InvalidParameterError(f"top_k: the model has {classes} classes; ask for no more.")
    return top_k


def _predictions(answer: Classification, k: int) -> list[Prediction]:
    return [
        Prediction(label=label, class_id=class_id, probability=round(probability, 6))
        for label, class_id, probability in answer.top(k)
    ]


def _facts(answer: Classification) -> ImageFacts:
    facts = answer.image
    return ImageFacts(width=facts.width, height=facts.height, format=facts.format)


def _data_url(answer: Classification) -> str:
    png = io.BytesIO()
    Image.fromarray(answer.pixels).save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
