"""Multipart forms: the files of one field, in memory."""

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from service.errors import MalformedFormError, MissingFieldError, TooManyFilesError

FORM = "multipart/form-data"


def is_form(request: Request) -> bool:
    """Whether the body is a multipart form."""
    return request.headers.get("content-type", "").lower().startswith(FORM)


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
    form = _Form(max_files, max_fields)
    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary")
    try:
        parser = FormParser(
            FORM,
            on_field=form.add_text,
            on_file=form.add_file,
            on_end=form.end,
            boundary=boundary,
            config={"MAX_MEMORY_FILE_SIZE": float("inf")},
        )
        async for chunk in request.stream():
            parser.write(chunk)
    except FormParserError as error:
        raise MalformedFormError(f"The form cannot be read: {error}.") from error
    if not form.complete:
        raise MalformedFormError("The form is cut off before its end; send it again.")
    uploads = [data for name, data in form.files if name == field.encode()]
    if not uploads:
        raise MissingFieldError(f"The form has no file in the field {field!r}; send it there.")
    return uploads


class _Form:
    """Takes the parts as they arrive, and not too many."""

    def __init__(self, max_files: int, max_fields: int) -> None:
        self.files: list[tuple[bytes | None, bytes]] = []
        self.complete = False
        self._max_files = max_files
        self._max_fields = max_fields
        self._fields = 0

    def add_file(self, file: File) -> None:
        if len(self.files) == self._max_files:
            raise TooManyFilesError(
                f"The form holds more files than allowed ({self._max_files}); send fewer at a time."
            )
        file.file_object.seek(0)
        self.files.append((file.field_name, file.file_object.read()))

    def add_text(self, _text: Field) -> None:
        self._fields += 1
        if self._fields > self._max_fields:
            raise MalformedFormError(
                f"The form holds more text fields than {self._max_fields}; send files alone."
            )

    def end(self) -> None:
        self.complete = True
