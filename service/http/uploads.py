"""Uploads out of request bodies: raw bytes, or the files in one field of a multipart form."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from starlette.requests import ClientDisconnect, Request

from service.errors import MissingFieldError, UnsupportedEncodingError
from service.http.context import context_of
from service.http.multipart import FormReader
from service.http.parameters import check_json_size

# To join so many bytes takes a millisecond, for which the event loop does not wait: `join` lets
# other threads run meanwhile.
_LARGE_BYTES = 1_000_000


def is_form(request: Request) -> bool:
    """Whether the body is a multipart form."""
    content_type = context_of(request.scope).headers.get(b"content-type", b"")
    return content_type.lower().startswith(b"multipart/form-data")


async def read_json_body(request: Request) -> bytes:
    """Reads a body that is JSON alone.

    Raises:
        BodyTooLargeError: it has more than `MAX_JSON_BYTES`.
        UnsupportedEncodingError: the body is compressed.
        ClientDisconnect: the client disconnected before its end.
    """
    body = b""
    async for chunk in _chunks(request):
        body += chunk
        check_json_size(len(body))
    return body


async def read_body(request: Request) -> bytes:
    """Reads the whole body.

    Raises:
        UnsupportedEncodingError: the body is compressed.
        ClientDisconnect: the client disconnected before its end.
    """
    (body,) = await _join([[chunk async for chunk in _chunks(request)]])
    return body


async def read_files(
    request: Request, field: str, *, max_files: int, max_fields: int
) -> list[bytes]:
    """Reads the files in one field of a multipart form, at least one.

    They stay in memory, which the limit of the body bounds. Other fields are ignored.

    Raises:
        MissingFieldError: no file has that field name.
        TooManyFilesError: the form has more files than `max_files`.
        MalformedFormError: the body is not the form that its content type announces, or has more
            than `max_fields` other fields.
        UnsupportedEncodingError: the body is compressed.
        ClientDisconnect: the client disconnected before its end.
    """
    content_type = context_of(request.scope).headers[b"content-type"].decode("latin-1")
    form = FormReader(content_type, max_files=max_files, max_fields=max_fields)
    async for chunk in _chunks(request):
        form.feed(chunk)
    name = field.encode()
    files = [part.chunks for part in form.close() if part.is_file and part.name == name]
    if not files:
        raise MissingFieldError(f"The form has no file in the field {field!r}; send it there.")
    return await _join(files)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    encoding = context_of(request.scope).headers.get(b"content-encoding", b"identity")
    if encoding.lower() != b"identity":
        raise UnsupportedEncodingError(
            f"The body is compressed ({encoding[:40].decode('latin-1')}), which is not accepted; "
            "send it without Content-Encoding."
        )
    more_body = True
    while more_body:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        yield message.get("body", b"")
        more_body = message.get("more_body", False)


async def _join(pieces: Sequence[list[bytes]]) -> list[bytes]:
    """Joins the pieces of each upload."""

    def join() -> list[bytes]:
        return [chunks[0] if len(chunks) == 1 else b"".join(chunks) for chunks in pieces]

    is_large = sum(len(chunk) for chunks in pieces for chunk in chunks) > _LARGE_BYTES
    return await asyncio.to_thread(join) if is_large else join()
