"""The page (/), Swagger UI (/docs) and their static files.

Their content security policies allow no other origin. All their URLs are relative, so that they
work behind any path prefix of a reverse proxy.
"""

import importlib.resources
from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parents[2] / "static"
SWAGGER = Path(str(importlib.resources.files("fastapi_offline") / "static"))

_CLOSED = "default-src 'none'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
_COMMON = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
PAGE_HEADERS = _COMMON | {
    "Content-Security-Policy": _CLOSED
    + "script-src 'self'; style-src 'self'; img-src 'self' data: blob:; form-action 'none'"
}
# Swagger UI is started by an inline script and sets inline styles.
DOCS_HEADERS = _COMMON | {
    "Content-Security-Policy": _CLOSED
    + "script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> FileResponse:
    """Returns the page that classifies pictures."""
    return FileResponse(STATIC / "index.html", headers=PAGE_HEADERS)


@router.get("/openapi.json")
def openapi_json(request: Request) -> JSONResponse:
    """Returns the OpenAPI document; a thread builds it, which takes a tenth of a second once."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Returns Swagger UI with files from this service; FastAPI's own page loads them from a CDN."""
    html = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=request.app.title,
        swagger_js_url="docs/files/swagger-ui-bundle.js",
        swagger_css_url="docs/files/swagger-ui.css",
        swagger_favicon_url="static/icon.svg",
    )
    html.headers.update(DOCS_HEADERS)
    return html


def mount_files(app: FastAPI) -> None:
    """Adds the static files of the page and of Swagger UI to the app."""
    app.mount("/static", _Files(STATIC, PAGE_HEADERS))
    app.mount("/docs/files", _Files(SWAGGER, DOCS_HEADERS))


class _Files(StaticFiles):
    """Static files with additional headers; Starlette's class has no option for them."""

    def __init__(self, directory: Path, headers: Mapping[str, str]) -> None:
        super().__init__(directory=directory)
        self._headers = headers

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(self._headers)
        return response
