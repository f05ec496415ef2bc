"""The parts of a multipart form, taken out of its body by python-multipart as it arrives."""

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.decoders import Base64Decoder, QuotedPrintableDecoder
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header

from service.errors import MalformedFormError, TooManyFilesError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

# The headers of parts, and of requests, that are remembered: clients repeat theirs.
_REMEMBERED = 256
_BLANKS = b" \t"
# The parser goes byte by byte through what only begins like a delimiter and through blanks behind
# one. These bounds hold its time for a chunk of the body under a few milliseconds.
_MAX_FALSE_DELIMITERS = 1000
_MAX_BLANKS = 4000


@dataclass(slots=True)
class Part:
    """One part of a form.

    Attributes:
        name: name of the field.
        is_file: whether it has a file name, or says that it is an image.
        chunks: its bytes, in pieces.
    """

    name: bytes
    is_file: bool
    chunks: list[bytes] = field(default_factory=list)

    def write(self, data: bytes) -> None:
        """Adds a piece."""
        self.chunks.append(data)


_Writer = Part | Base64Decoder | QuotedPrintableDecoder


class FormReader:
    """Reads one form, chunk by chunk.

    The form parser of python-multipart would write each file to a temporary file, which takes
    twice as long for a small one; its multipart parser calls the methods below.
    """

    def __init__(self, content_type: str, *, max_files: int, max_fields: int) -> None:
        """Takes the `Content-Type`, and the most files and other fields that are accepted.

        Raises:
            MalformedFormError: the content type names no boundary.
        """
        self._max_files = max_files
        self._max_fields = max_fields
        self._delimiter = b"--" + _boundary(content_type)
        try:
            self._parser = MultipartParser(self._delimiter[2:], self._callbacks())
        except FormParserError as error:
            raise MalformedFormError(f"The form cannot be read: {error}.") from error
        self._preamble: bytes | None = b"\r\n"  # None once the first delimiter has come
        self._delimiters = 0
        self._complete = False
        self._parts: list[Part] = []
        self._files = 0
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._writer: _Writer = Part(b"", is_file=False)

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the body.

        Raises:
            TooManyFilesError: there are more files than allowed, or far more delimiters.
            MalformedFormError: the body is not the form that its content type announces, or has
                too many other fields.
        """
        if self._preamble is not None:
            if chunk.startswith(self._delimiter + b"\r\n"):  # as almost all forms begin
                self._preamble = None
            else:
                chunk = self._skip_preamble(self._preamble + chunk)
        self._check_delimiters(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise MalformedFormError(f"The form cannot be read: {error}.") from error

    def close(self) -> list[Part]:
        """Ends the form and returns its parts.

        Raises:
            MalformedFormError: the form is cut off.
        """
        if not self._complete:
            raise MalformedFormError("The form is cut off before its end; send it again.")
        return self._parts

    def _skip_preamble(self, head: bytes) -> bytes:
        """The body from the first delimiter on, once that has come.

        RFC 2046 allows text before it and blanks behind it; the parser does not.
        """
        start = head.find(b"\r\n" + self._delimiter)
        if start < 0:
            self._preamble = head[-len(self._delimiter) - 1 :]  # it may end in half a delimiter
            return b""
        behind = head[start + 2 + len(self._delimiter) :].lstrip(_BLANKS)
        if not behind:
            self._preamble = head[start : start + 2 + len(self._delimiter)]
            return b""
        self._preamble = None
        return self._delimiter + behind

    def _check_delimiters(self, chunk: bytes) -> None:
        self._delimiters += chunk.count(self._delimiter)
        is_hostile = self._delimiters > self._max_files + self._max_fields + _MAX_FALSE_DELIMITERS
        if len(chunk) > _MAX_BLANKS:
            in_blanks = self._parser.state == MultipartState.BOUNDARY_PADDING
            is_hostile |= in_blanks and chunk[:_MAX_BLANKS].isspace()
            for blank in (b" ", b"\t"):
                is_hostile |= self._delimiter + blank * _MAX_BLANKS in chunk
        if is_hostile:
            raise TooManyFilesError(
                "The form has more parts than allowed, or its boundary within them; "
                "send fewer at a time."
            )

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def _on_part_begin(self) -> None:
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _on_headers_finished(self) -> None:
        headers = self._headers
        name, has_file_name = _disposition(headers.get(b"content-disposition", b""))
        is_image = headers.get(b"content-type", b"").lower().startswith(b"image/")
        part = Part(name, has_file_name or is_image)
        self._writer = _writer(part, headers.get(b"content-transfer-encoding", b"").lower())
        self._parts.append(part)
        self._files += part.is_file
        if self._files > self._max_files:
            raise TooManyFilesError(
                f"The form holds more files than allowed ({self._max_files}); send fewer at a time."
            )
        if len(self._parts) - self._files > self._max_fields:
            raise MalformedFormError(
                f"The form holds more text fields than {self._max_fields}; send files alone."
            )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._writer.write(data[start:end])

    def _on_part_end(self) -> None:
        if not isinstance(self._writer, Part):
            self._writer.finalize()

    def _on_end(self) -> None:
        self._complete = True


@functools.lru_cache(_REMEMBERED)
def _boundary(content_type: str) -> bytes:
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise MalformedFormError("The Content-Type of the form names no boundary; let it.")
    return boundary


@functools.lru_cache(_REMEMBERED)
def _disposition(value: bytes) -> tuple[bytes, bool]:
    """The field's name in a `Content-Disposition`, and whether it names a file, in either form."""
    options = parse_options_header(value)[1]
    if b"name" not in options:
        raise MalformedFormError("A part of the form has no field name; give each part one.")
    return options[b"name"], b"filename" in options or b"filename*" in value.lower()


def _writer(part: Part, encoding: bytes) -> _Writer:
    """What writes the content of a part; old clients encode it."""
    if encoding == b"base64":
        return Base64Decoder(part)
    if encoding == b"quoted-printable":
        return QuotedPrintableDecoder(part)
    return part
