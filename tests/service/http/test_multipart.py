"""Multipart forms: what clients send, what RFC 2046 allows, and what is refused."""

import base64
import contextlib
import re
import time
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import MalformedFormError, ServiceError, TooManyFilesError
from service.http.multipart import FormReader

FEW = 8
CONTENT_TYPE = "multipart/form-data; boundary=b--b"
END = b"--b--b--\r\n"
PIECES = st.sampled_from(
    [
        *(b"--b--b", b"\r\n--b--b", b"--", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"", b"x", b" "),
        b'Content-Disposition: form-data; name="file"; filename="a.jpg"',
        b'content-disposition: form-data; name="files"',
        b'Content-Disposition: form-data; filename="a.jpg"',
        b"Content-Disposition: form-data; name=\"f\"; filename*=UTF-8''n",
        b"Content-Disposition: attachment",
        b"Content-Type: image/jpeg",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Transfer-Encoding: base64",
        b"\xff\xd8\xff\xe0 a picture \x00\r\n-",
    ]
)


def part(content: bytes, *lines: str, name: str = "file") -> bytes:
    """One part with its delimiter; `lines` stand in place of a file's usual head."""
    disposition = f'Content-Disposition: form-data; name="{name}"'
    head = "\r\n".join(lines or (f'{disposition}; filename="a.jpg"', "Content-Type: image/jpeg"))
    return f"--b--b\r\n{head}\r\n\r\n".encode() + content + b"\r\n"


class Part(NamedTuple):
    name: bytes
    is_file: bool
    content: bytes


def split_form(body: bytes, content_type: str = CONTENT_TYPE, chunk: int = 65_536) -> list[Part]:
    form = FormReader(content_type, max_files=FEW, max_fields=FEW)
    for start in range(0, len(body), chunk):
        form.feed(body[start : start + chunk])
    return [Part(part.name, part.is_file, part.content()) for part in form.close()]


def test_chunks_may_be_cut_anywhere() -> None:
    body = b"text\r\n--b-\r\n" + part(b"one\r\n--b") + part(b"", name="two") + END
    body = body.replace(b"--b--b\r\n", b"--b--b  \r\n")
    whole = split_form(body)
    assert [found.content for found in whole] == [b"one\r\n--b", b""]
    for size in range(1, len(body)):
        assert split_form(body, chunk=size) == whole


def test_parts_have_their_field_kind_and_content() -> None:
    body = part(b"one") + part(b"two", 'Content-Disposition: form-data; name="note"') + END
    assert split_form(body) == [Part(b"file", True, b"one"), Part(b"note", False, b"two")]


def test_content_that_resembles_a_delimiter_is_kept() -> None:
    content = b"\r\n--b--\r\n--b-\r\n\r\n--x"
    assert split_form(part(content) + END)[0].content == content


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/form-data; boundary="b--b"',
        "multipart/form-data;boundary=b--b",
        "multipart/form-data; charset=utf-8; boundary=b--b",
        "Multipart/Form-Data; Boundary=b--b",
    ],
)
def test_boundary_is_found_however_it_is_written(content_type: str) -> None:
    assert split_form(part(b"picture") + END, content_type)[0].content == b"picture"


@pytest.mark.parametrize(
    "lines",
    [
        ('Content-Disposition: form-data; name="file"', "Content-Type: image/png"),
        ('Content-Disposition: form-data; name="file"', "Content-Type: IMAGE/jpeg; x=y"),
        ("Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''caf%C3%A9.jpg",),
        ('Content-Disposition: form-data; name="file"; filename=""',),
        ('content-disposition:form-data; filename="a;b.jpg"; name=file',),
    ],
)
def test_part_with_any_file_name_or_an_image_type_is_a_file(lines: tuple[str, ...]) -> None:
    assert split_form(part(b"picture", *lines) + END) == [Part(b"file", True, b"picture")]


@pytest.mark.parametrize(
    "body",
    [
        b"This is a form.\r\nIt has text before it.\r\n" + part(b"picture") + END,
        b"\r\n" + part(b"picture") + END,
        part(b"picture") + END + b"text behind it",
        part(b"picture") + b"--b--b--",
        part(b"picture").replace(b"--b--b\r\n", b"--b--b \t \r\n") + END,
        (part(b"picture") + part(b"x")).replace(b"--b--b\r\n", b"--b--b  \r\n") + END,
        part(b"picture") + b"--b--b-- \t\r\n",
    ],
)
def test_text_around_delimiters_is_accepted(body: bytes) -> None:
    """RFC 2046: a preamble, an epilogue, and blanks behind a delimiter."""
    assert split_form(body)[0].content == b"picture"


@pytest.mark.parametrize(
    ("encoding", "content"),
    [("base64", base64.b64encode(b"picture=")), ("Quoted-Printable", b"picture=3D")],
)
def test_transfer_encoding_is_decoded(encoding: str, content: bytes) -> None:
    disposition = 'Content-Disposition: form-data; name="file"; filename="a"'
    encoded = part(content, disposition, f"Content-Transfer-Encoding: {encoding}")
    assert split_form(encoded + END)[0].content == b"picture="


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_base64_in_lines_is_decoded_however_it_is_cut(line_end: bytes) -> None:
    lines = line_end.join([b"QUJD", b"REVG", b"R0g=", b""])
    disposition = 'Content-Disposition: form-data; name="file"; filename="a"'
    body = part(lines, disposition, "Content-Transfer-Encoding: base64") + END
    for size in range(1, len(body) + 1):
        assert split_form(body, chunk=size)[0].content == b"ABCDEFGH"


def test_large_base64_is_decoded_whole() -> None:
    picture = bytes(range(256)) * 4000
    disposition = 'Content-Disposition: form-data; name="file"; filename="a"'
    encoded = base64.encodebytes(picture).replace(b"\n", b"\r\n")
    body = part(encoded, disposition, "Content-Transfer-Encoding: base64") + END
    assert split_form(body)[0].content == picture


def test_preamble_that_ends_where_a_segment_does_is_skipped() -> None:
    body = b"hello --b--b\r\n" + part(b"x") + END
    for size in range(1, len(body) + 1):
        assert split_form(body, chunk=size) == [Part(b"file", True, b"x")]


def test_field_that_is_called_like_an_option_is_no_file() -> None:
    text = part(b"x", 'Content-Disposition: form-data; name="filename*"')
    assert split_form(text + END) == [Part(b"filename*", False, b"x")]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", part(b"x") + END),
        ("multipart/form-data; boundary=", part(b"x") + END),
        ("multipart/form-data; boundary=" + "x" * 1000, part(b"x") + END),
        (CONTENT_TYPE, b""),
        (CONTENT_TYPE, b"no form"),
        (CONTENT_TYPE, part(b"x")),
        (CONTENT_TYPE, part(b"x") + b"--b--b-"),
        (CONTENT_TYPE, part(b"x", "Content-Disposition: form-data") + END),
        (CONTENT_TYPE, part(b"x", "Content-Type: image/png") + END),
        (CONTENT_TYPE, part(b"x", *(f"X-{i}: y" for i in range(1000))) + END),
        (CONTENT_TYPE, part(b"x", 'Content-Disposition: form-data; name="x"' + ";" * 100) + END),
        (CONTENT_TYPE + ";" * 100, part(b"x") + END),
        (CONTENT_TYPE, part(b"x", "X: " + "y" * 100_000) + END),
        (CONTENT_TYPE, part(b"x", 'Content-Disposition: form-data; name="x"') * (FEW + 1) + END),
    ],
)
def test_what_is_no_form_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(MalformedFormError):
        split_form(body, content_type)


def test_too_many_files_are_refused() -> None:
    with pytest.raises(TooManyFilesError):
        split_form(part(b"x") * (FEW + 1) + END)


@pytest.mark.parametrize(
    "body",
    [
        part(b"\r\n--b--bx" * 2_000_000) + END,
        part(b"x").replace(b"--b--b\r\n", b"--b--b" + b" " * 20_000_000 + b"\r\n") + END,
        part(b"\r" * 20_000_000) + END,
        b"\r\n" * 10_000_000 + part(b"x") + END,
        part(b"x", "X: " + " " * 20_000_000) + END,
        part(b"") * 200_000 + END,
        (b"--b--b" + b"\r\n" * 10_000_000),
        b"-" * 20_000_000,
    ],
    ids=["delimiters", "blanks", "CR", "lines", "header", "parts", "empty lines", "dashes"],
)
def test_large_hostile_forms_take_no_steps_in_python(body: bytes) -> None:
    started = time.process_time()
    with contextlib.suppress(ServiceError):
        split_form(body)
    assert time.process_time() - started < 1  # byte by byte it would be several seconds


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=14), st.booleans())
def test_any_bytes_are_split_or_refused(pieces: list[bytes], is_begun: bool) -> None:
    body = b"".join(pieces)
    if is_begun:  # by chance few would be
        body = part(body) + END
    try:
        parts = split_form(body)
    except ServiceError:
        return
    assert len(parts) <= 2 * FEW
    assert all(found.content in body or b"base64" in body for found in parts)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=40), st.booleans()), min_size=1, max_size=FEW))
def test_content_is_kept_byte_for_byte(contents: list[tuple[bytes, bool]]) -> None:
    expected = [
        Part(b"file", is_file, re.sub(b"\r\n--b--b", b"", content)) for content, is_file in contents
    ]
    disposition = 'Content-Disposition: form-data; name="file"'
    body = b"".join(
        part(found.content) if found.is_file else part(found.content, disposition)
        for found in expected
    )
    assert split_form(body + END) == expected
