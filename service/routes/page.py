"""GET / and its static files, under a policy that allows nothing from elsewhere."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent.parent / "static"

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

router = APIRouter()


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page that classifies a dropped picture."""
    return FileResponse(STATIC / "index.html", headers=_HEADERS)


class PageFiles(StaticFiles):
    """The page's own files, with the page's headers."""

    def __init__(self) -> None:
        """Serves the folder `static`."""
        super().__init__(directory=STATIC)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answers with one file."""
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response
