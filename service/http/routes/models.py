"""GET /card: all that is known of the model that answers."""

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from service.errors import NotServedError
from service.http.openapi import describe
from service.inference.card import CARD_FILE
from service.inference.model_server import ModelServer

router = APIRouter(tags=["model"])


@router.get("/card", response_class=FileResponse, **describe("card"))
def card(request: Request) -> FileResponse:
    """The card of the model that answers: its measured figures, its training, its data."""
    model_server: ModelServer = request.app.state.model_server
    model = model_server.classifier.model
    path = model_server.settings.models / model.name / str(model.version) / CARD_FILE
    if not path.is_file():
        raise NotServedError(f"The card of {model.name!r}, version {model.version}, is gone.")
    return FileResponse(path, media_type="application/json", headers={"Cache-Control": "no-cache"})
