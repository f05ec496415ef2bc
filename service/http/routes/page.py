"""GET / and /docs with their files, under policies that allow no address but our own."""

import importlib.resources
from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse, Response
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
# Swagger UI starts from a script inside its HTML and styles its elements one by one.
DOCS_HEADERS = _COMMON | {
    "Content-Security-Policy": _CLOSED
    + "script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
}

router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
async def page() -> FileResponse:
    """The page that classifies a dropped picture."""
    return FileResponse(STATIC / "index.html", headers=PAGE_HEADERS)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Swagger UI, from our own address: FastAPI's own page loads it from elsewhere."""
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
    """Serves the files of the page and of Swagger UI."""
    app.mount("/static", _Files(STATIC, PAGE_HEADERS))
    app.mount("/docs/files", _Files(SWAGGER, DOCS_HEADERS))


class _Files(StaticFiles):
    """A folder of files, all with the same headers."""

    def __init__(self, directory: Path, headers: Mapping[str, str]) -> None:
        super().__init__(directory=directory)
        self._headers = headers

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(self._headers)
        return response
