"""Uploads out of request bodies: raw bytes, or the files in one field of a multipart form."""

import asyncio
import functools

from starlette.requests import ClientDisconnect, Request

from service.errors import MissingFieldError, UnsupportedEncodingError
from service.http import multipart

# To search a body of this size takes a millisecond or more, for which the event loop does not wait.
_LARGE_BYTES = 1_000_000


def is_form(request: Request) -> bool:
    """Whether the body is a multipart form."""
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def read_body(request: Request) -> bytes:
    """Reads the whole body.

    Raises:
        UnsupportedEncodingError: the body is compressed.
        ClientDisconnect: the client disconnected before its end.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedEncodingError(
            f"The body is compressed ({encoding[:40]}), which is not accepted; "
            "send it without Content-Encoding."
        )
    chunks: list[bytes] = []
    more_body = True
    while more_body:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        more_body = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def read_files(
    request: Request, field: str, *, max_files: int, max_fields: int
) -> list[bytes]:
    """Reads the files in one field of a multipart form, at least one.

    They stay in memory, which the limit of the body bounds.

    Args:
        request: the request.
        field: name of the field.
        max_files: most files in the form.
        max_fields: most other fields; they are ignored.

    Raises:
        MissingFieldError: no file has that field name.
        TooManyFilesError: there are more than `max_files`.
        MalformedFormError: the body is not the form that its content type announces, or has too
            many other fields.
    """
    body = await read_body(request)
    content_type = request.headers["content-type"]
    split = functools.partial(
        multipart.split, content_type, body, max_files=max_files, max_fields=max_fields
    )
    parts = await asyncio.to_thread(split) if len(body) > _LARGE_BYTES else split()
    name = field.encode()
    files = [part.content for part in parts if part.is_file and part.field == name]
    if not files:
        raise MissingFieldError(f"The form has no file in the field {field!r}; send it there.")
    return files
