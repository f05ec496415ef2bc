"""Headers of a request, as ASGI has them: names in lower case, names and values in bytes."""

from starlette.types import Scope


def header(scope: Scope, wanted: bytes) -> bytes:
    """The first header of that name, which is in lower case; empty if there is none."""
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return b""
