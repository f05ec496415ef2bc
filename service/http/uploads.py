"""Reads uploads from request bodies: raw bytes, or the files in one field of a multipart form."""

import asyncio
from collections.abc import Callable, Sequence

from starlette.requests import ClientDisconnect, Request

from service.errors import MissingFieldError, UnsupportedEncodingError
from service.http import compression
from service.http.context import context_of
from service.http.multipart import FormReader
from service.http.parameters import check_json_size

# Joining this many bytes takes a millisecond; it is done outside of the event loop.
_LARGE_BYTES = 1_000_000


def is_form(request: Request) -> bool:
    """Whether the body is a multipart form."""
    content_type = context_of(request.scope).headers.get(b"content-type", b"")
    return content_type.lower().startswith(b"multipart/form-data")


async def read_body(
    request: Request, *, is_json: bool = False, may_be_compressed: bool = False
) -> bytes:
    """Reads the whole body.

    Args:
        request: the request.
        is_json: whether it is JSON alone, the size of which is limited.
        may_be_compressed: whether it is decompressed if it has to be, and refused otherwise.

    Raises:
        BodyTooLargeError: the JSON or the decompressed body is too large.
        UnsupportedEncodingError: the body is compressed, and may not be, or in another way.
        InvalidInferenceRequestError: it cannot be decompressed.
        ClientDisconnect: the client disconnected before its end.
    """
    encoding = _encoding(request, compression.ENCODINGS if may_be_compressed else ())
    body = await _read_all(request, is_json=is_json)
    if not encoding:
        return body
    return await compression.decompress(body, encoding, context_of(request.scope).hold)


async def _read_all(request: Request, *, is_json: bool) -> bytes:
    chunks: list[bytes] = []
    size = 0

    def add(chunk: bytes) -> None:
        nonlocal size
        chunks.append(chunk)
        size += len(chunk)
        if is_json:
            check_json_size(size)

    await _receive(request, add)
    if len(chunks) == 1:
        return chunks[0]
    # `join` lets other threads run meanwhile.
    return await asyncio.to_thread(b"".join, chunks) if size > _LARGE_BYTES else b"".join(chunks)


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
    _encoding(request)
    form = FormReader(content_type, max_files=max_files, max_fields=max_fields)
    await _receive(request, form.feed)
    parts = [part for part in form.close() if part.is_file and part.name == field.encode()]
    if not parts:
        raise MissingFieldError(f"The form has no file in the field {field!r}; send it there.")

    def join() -> list[bytes]:
        return [part.content() for part in parts]

    is_large = sum(len(chunk) for part in parts for chunk in part.chunks) > _LARGE_BYTES
    return await asyncio.to_thread(join) if is_large else join()


def _encoding(request: Request, accepted: Sequence[bytes] = ()) -> bytes:
    """How the body is compressed; empty if it is not."""
    encoding = context_of(request.scope).headers.get(b"content-encoding", b"").lower()
    if encoding in (b"", b"identity"):
        return b""
    if encoding not in accepted:
        raise UnsupportedEncodingError(
            f"The body is compressed ({encoding[:40].decode('latin-1')}), which is not accepted; "
            "send it without Content-Encoding."
        )
    return encoding


async def _receive(request: Request, take: Callable[[bytes], None]) -> None:
    more_body = True
    while more_body:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        take(message.get("body", b""))
        more_body = message.get("more_body", False)
