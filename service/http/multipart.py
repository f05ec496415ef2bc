"""Bodies of requests, in memory: all bytes, or the files in one field of a multipart form."""

import re
from typing import NamedTuple

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header
from starlette.requests import ClientDisconnect

from service.errors import MalformedFormError, MissingFieldError, TooManyFilesError
from service.http.headers import header

FORM = "multipart/form-data"

# What browsers, curl and most libraries send; all else is left to a complete parser.
_BOUNDARY = re.compile(r'multipart/form-data; ?boundary=("?)([\w\'()+,./:=?-]{1,70})\1', re.ASCII)
_HEAD = re.compile(
    rb'\r\nContent-Disposition: form-data; name="([^"\\%\r\n]*)"(; filename="[^"\\\r\n]*")?\r\n'
    rb"(?:Content-Type: [\w.+/-]+\r\n)?\r\n",
    re.ASCII | re.IGNORECASE,
)


class Part(NamedTuple):
    """One part of a form."""

    field: bytes | None
    is_file: bool
    content: bytes


def is_form(request: Request) -> bool:
    """Whether the body is a multipart form."""
    return header(request.scope, b"content-type").lower().startswith(FORM.encode())


async def read_body(request: Request) -> bytes:
    """Reads the whole body.

    Raises:
        ClientDisconnect: the client left before its end.
    """
    chunks: list[bytes] = []
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def read_files(
    request: Request, field: str, *, max_files: int, max_fields: int
) -> list[bytes]:
    """Reads the files of one field, at least one.

    They never touch the disk: the limit of the body bounds what they take in memory.

    Args:
        request: the request.
        field: name of the field.
        max_files: most files in the form.
        max_fields: most other fields in it; none is used, a few are forgiven.

    Raises:
        MissingFieldError: no file has that field name.
        TooManyFilesError: there are more than `max_files`.
        MalformedFormError: the body is not the form that its content type promises, or it has too
            many other fields.
    """
    content_type = header(request.scope, b"content-type").decode("latin-1")
    body = await read_body(request)
    parts = split_plain(content_type, body, max_files + max_fields)
    if parts is None:
        parts = split_any(content_type, body, max_files, max_fields)
    files = [part for part in parts if part.is_file]
    _check_count(len(files), len(parts) - len(files), max_files, max_fields)
    uploads = [part.content for part in files if part.field == field.encode()]
    if not uploads:
        raise MissingFieldError(f"The form has no file in the field {field!r}; send it there.")
    return uploads


def split_plain(content_type: str, body: bytes, max_parts: int) -> list[Part] | None:
    """Splits a form of the plainest kind, in a hundredth of the time that any form would take.

    Returns:
        Its parts; None if it is of another kind, is malformed or has more than `max_parts`, which
        `split_any` tells apart.
    """
    boundary = _BOUNDARY.fullmatch(content_type)
    if boundary is None:
        return None
    delimiter = b"\r\n--" + boundary[2].encode()
    parts: list[Part] = []
    end = -2  # the first delimiter has no line before it
    if not body.startswith(delimiter[2:]):
        return None
    while head := _HEAD.match(body, end + len(delimiter)):
        start = head.end()
        end = body.find(delimiter, start)
        if end < 0 or len(parts) == max_parts:
            return None
        parts.append(Part(head[1], head[2] is not None, body[start:end]))
    return parts if body[end + len(delimiter) :] in (b"--\r\n", b"--") else None


def split_any(content_type: str, body: bytes, max_files: int, max_fields: int) -> list[Part]:
    """Splits any multipart form; see `read_files`."""
    form = _Form(max_files, max_fields)
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    try:
        parser = FormParser(
            FORM,
            on_field=form.add_text,
            on_file=form.add_file,
            on_end=form.end,
            boundary=boundary,
            config={"MAX_MEMORY_FILE_SIZE": float("inf")},
        )
        parser.write(body)
    except FormParserError as error:
        raise MalformedFormError(f"The form cannot be read: {error}.") from error
    if not form.complete:
        raise MalformedFormError("The form is cut off before its end; send it again.")
    return form.parts


class _Form:
    """Takes the parts as they come, and not too many."""

    def __init__(self, max_files: int, max_fields: int) -> None:
        self.parts: list[Part] = []
        self.complete = False
        self._max_files = max_files
        self._max_fields = max_fields
        self._files = 0

    def add_file(self, file: File) -> None:
        file.file_object.seek(0)
        self._add(Part(file.field_name, is_file=True, content=file.file_object.read()))

    def add_text(self, text: Field) -> None:
        self._add(Part(text.field_name, is_file=False, content=text.value or b""))

    def end(self) -> None:
        self.complete = True

    def _add(self, part: Part) -> None:
        self.parts.append(part)
        self._files += part.is_file
        fields = len(self.parts) - self._files
        _check_count(self._files, fields, self._max_files, self._max_fields)


def _check_count(files: int, fields: int, max_files: int, max_fields: int) -> None:
    if files > max_files:
        raise TooManyFilesError(
            f"The form holds more files than allowed ({max_files}); send fewer at a time."
        )
    if fields > max_fields:
        raise MalformedFormError(
            f"The form holds more text fields than {max_fields}; send files alone."
        )
