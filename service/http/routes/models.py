"""GET /models: what is served, and all that is known of it."""

from fastapi import APIRouter, Request, Response

from service.http.openapi import describe
from service.inference.model_server import ModelServer

router = APIRouter(tags=["model"])


@router.get("/card", response_class=Response, **describe("card"))
async def card(request: Request) -> Response:
    """The card of the model that answers: its measured figures, its training, its data."""
    model_server: ModelServer = request.app.state.model_server
    data = model_server.find().card.read()
    headers = {"Cache-Control": "no-cache"}
    return Response(data, media_type="application/json", headers=headers)
