"""The parts of a multipart form, parsed in memory by python-multipart."""

import base64
import binascii
import functools
import quopri
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import MalformedFormError, TooManyFilesError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

# The headers of parts, and of requests, that are remembered: clients repeat theirs.
_REMEMBERED = 256
_MAX_FALSE_DELIMITERS = 1000
_MAX_BLANKS = 100
_DECODERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"base64": lambda text: base64.b64decode(text.translate(None, b"\r\n\t "), validate=True),
    b"quoted-printable": quopri.decodestring,
}


class Part(NamedTuple):
    """One part of a form.

    Attributes:
        field: name of the field.
        is_file: whether it has a file name, or says that it is an image.
        content: its bytes.
    """

    field: bytes
    is_file: bool
    content: bytes


def split(content_type: str, body: bytes, *, max_files: int, max_fields: int) -> list[Part]:
    """Splits a form into its parts.

    The form parser of python-multipart would write each file to a temporary file, which takes
    twice as long; its multipart parser gives the bytes.

    Args:
        content_type: the `Content-Type` of the request.
        body: the whole body.
        max_files: most files.
        max_fields: most other fields.

    Raises:
        TooManyFilesError: there are more files than `max_files`.
        MalformedFormError: the body is not the form that its content type announces, or has more
            than `max_fields` other fields.
    """
    boundary = _boundary(content_type)
    form = _Form(max_files, max_fields)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        parser.write(_normalised(body, boundary, max_files + max_fields))
    except FormParserError as error:
        raise MalformedFormError(f"The form cannot be read: {error}.") from error
    if not form.complete:
        raise MalformedFormError("The form is cut off before its end; send it again.")
    return form.parts


@functools.lru_cache(_REMEMBERED)
def _boundary(content_type: str) -> bytes:
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise MalformedFormError("The Content-Type of the form names no boundary; let it.")
    return boundary


def _normalised(body: bytes, boundary: bytes, max_parts: int) -> bytes:
    """The body from its first delimiter on, as the parser takes it.

    RFC 2046 allows text before the first delimiter and blanks behind it; the parser does not.

    Raises:
        TooManyFilesError: there are so many delimiters, or beginnings of one, that the parser
            would take seconds: it goes through the latter byte by byte.
    """
    delimiter = b"--" + boundary
    if not body.startswith(delimiter):
        body = body[body.find(b"\r\n" + delimiter) + 2 :]
    if body[len(delimiter) : len(delimiter) + 1] in (b" ", b"\t"):
        body = delimiter + body[len(delimiter) :].lstrip(b" \t")
    is_padded = any(delimiter + blank * _MAX_BLANKS in body for blank in (b" ", b"\t"))
    if is_padded or body.count(b"\r\n" + delimiter) > max_parts + _MAX_FALSE_DELIMITERS:
        raise TooManyFilesError(
            f"The form holds more parts than allowed ({max_parts}), or its boundary within them; "
            "send fewer at a time."
        )
    return body


class _Form:
    """Collects the parts while the parser goes through the form."""

    def __init__(self, max_files: int, max_fields: int) -> None:
        self.parts: list[Part] = []
        self.complete = False
        self._max_files = max_files
        self._max_fields = max_fields
        self._files = 0
        self._headers: dict[bytes, bytes] = {}
        self._name = b""
        self._content = b""

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_header_name,
            "on_header_value": self._on_header_value,
            "on_part_data": self._on_content,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._headers, self._content = {}, b""

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._name = data[start:end].lower()

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._headers[self._name] = data[start:end]

    def _on_content(self, data: bytes, start: int, end: int) -> None:
        self._content = data[start:end]

    def _end_part(self) -> None:
        field, has_filename = _disposition(self._headers.get(b"content-disposition", b""))
        is_image = self._headers.get(b"content-type", b"").lower().startswith(b"image/")
        encoding = self._headers.get(b"content-transfer-encoding", b"").lower()
        part = Part(field, has_filename or is_image, _decode(self._content, encoding))
        self.parts.append(part)
        self._files += part.is_file
        if self._files > self._max_files:
            raise TooManyFilesError(
                f"The form holds more files than allowed ({self._max_files}); send fewer at a time."
            )
        if len(self.parts) - self._files > self._max_fields:
            raise MalformedFormError(
                f"The form holds more text fields than {self._max_fields}; send files alone."
            )

    def _end(self) -> None:
        self.complete = True


@functools.lru_cache(_REMEMBERED)
def _disposition(value: bytes) -> tuple[bytes, bool]:
    """The field's name in a `Content-Disposition`, and whether it names a file, in either form."""
    options = parse_options_header(value)[1]
    if b"name" not in options:
        raise MalformedFormError("A part of the form has no field name; give each part one.")
    return options[b"name"], b"filename" in options or b"filename*" in value.lower()


def _decode(content: bytes, encoding: bytes) -> bytes:
    """Decodes a `Content-Transfer-Encoding`, which old clients still send."""
    if encoding in (b"", b"binary", b"8bit", b"7bit"):
        return content
    if encoding not in _DECODERS:
        raise MalformedFormError("A part of the form has an unknown encoding; send plain bytes.")
    try:
        return _DECODERS[encoding](content)
    except binascii.Error as error:
        raise MalformedFormError(f"A part of the form is not valid base64: {error}.") from error
