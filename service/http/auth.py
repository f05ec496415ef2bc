"""API keys over HTTP: dependencies of routes, and middleware of plain ones."""

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.admission.keys import Authenticator
from service.http.context import note_key

# These document in OpenAPI how a key is sent; `Authenticator` reads it.
DOCUMENTED = [
    Depends(HTTPBearer(auto_error=False)),
    Depends(APIKeyHeader(name="X-API-Key", auto_error=False)),
]


class KeyDependencies:
    """The checks of an authenticator as dependencies of routes, which raise what it raises."""

    def __init__(self, authenticator: Authenticator) -> None:
        """Checks the keys by this authenticator."""
        self._authenticator = authenticator

    async def require_key(self, request: Request) -> None:
        """Requires a known key."""
        note_key(request.scope, self._authenticator.require_key(request.headers))

    async def require_and_count_key(self, request: Request) -> None:
        """Requires a known key, and counts the request for its rate limit."""
        await _require_and_count(self._authenticator, request.scope)

    async def require_admin_key(self, request: Request) -> None:
        """Requires the key of an administrator."""
        note_key(request.scope, self._authenticator.require_admin_key(request.headers))


class ApiKeyMiddleware:
    """Checks and counts the key of each request to a plain route."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        """Wraps the app of a route."""
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        await _require_and_count(self._authenticator, scope)
        await self._app(scope, receive, send)


async def _require_and_count(authenticator: Authenticator, scope: Scope) -> None:
    digest = authenticator.require_key(Headers(scope=scope))
    note_key(scope, digest)  # also of a request that is one too many
    await authenticator.count(digest)
