"""The short way to split a form agrees with the parser of all forms."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import ServiceError
from service.http.multipart import Part, split_any, split_plain

FEW = 8
CONTENT_TYPE = "multipart/form-data; boundary=b--b"
PIECES = st.sampled_from(
    [
        *(b"--b--b", b"\r\n--b--b", b"--", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"", b"x"),
        b'Content-Disposition: form-data; name="file"; filename="a.jpg"',
        b'content-disposition: form-data; name="files"',
        b'Content-Disposition: form-data; filename="a.jpg"',
        b'Content-Disposition: form-data; name="a%22b"; filename=""',
        b"Content-Disposition: form-data; name=\"f\"; filename*=UTF-8''n",
        b"Content-Disposition: attachment",
        b"Content-Type: image/jpeg",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Transfer-Encoding: base64",
        b"\xff\xd8\xff\xe0 a picture \x00\r\n-",
    ]
)


def part(content: bytes, name: str = "file", filename: str | None = "a.jpg") -> bytes:
    head = f'--b--b\r\nContent-Disposition: form-data; name="{name}"'
    if filename is not None:
        head += f'; filename="{filename}"\r\nContent-Type: image/jpeg'
    return head.encode() + b"\r\n\r\n" + content + b"\r\n"


def outcome(body: bytes, content_type: str = CONTENT_TYPE) -> list[Part] | None:
    """What the parser of all forms makes of a body; None if it refuses it."""
    try:
        return split_any(content_type, body, FEW, FEW)
    except ServiceError:
        return None


PLAIN = [
    part(b"picture"),
    part(b"one", "files") + part(b"two", "files", "b.png"),
    part(b"") + part(b"text", "note", None),
    part(b"\r\n--b--\r\n--b-\r\n\r\n--x"),
    part(b"no name", filename=""),
]


@pytest.mark.parametrize("end", [b"--b--b--\r\n", b"--b--b--"])
@pytest.mark.parametrize("parts", PLAIN)
def test_plain_form_is_split_the_short_way(parts: bytes, end: bytes) -> None:
    split = split_plain(CONTENT_TYPE, parts + end, FEW)
    assert split
    assert split == outcome(parts + end)


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/form-data; boundary="b--b"',
        "multipart/form-data;boundary=b--b",
    ],
)
def test_boundary_is_found_however_it_is_written(content_type: str) -> None:
    body = part(b"picture") + b"--b--b--\r\n"
    assert split_plain(content_type, body, FEW) == outcome(body, content_type)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", part(b"x") + b"--b--b--\r\n"),
        ("multipart/form-data; charset=utf-8; boundary=b--b", part(b"x") + b"--b--b--\r\n"),
        (CONTENT_TYPE, part(b"x")),
        (CONTENT_TYPE, part(b"x") + b"--b--b-"),
        (CONTENT_TYPE, b"preamble\r\n" + part(b"x") + b"--b--b--"),
        (CONTENT_TYPE, part(b"x") + b"--b--b--\r\nepilogue"),
        (CONTENT_TYPE, part(b"x") + b"--b--bc\r\n\r\n--b--b--"),
        (CONTENT_TYPE, part(b"x") * (FEW + 1) + b"--b--b--"),
        (CONTENT_TYPE, part(b"x").replace(b"image/jpeg", b"image/jpeg; x=y") + b"--b--b--"),
        (CONTENT_TYPE, part(b"x", r"a\"b") + b"--b--b--"),
        (CONTENT_TYPE, b""),
    ],
)
def test_anything_else_is_left_to_the_parser(content_type: str, body: bytes) -> None:
    assert split_plain(content_type, body, FEW) is None


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=14), st.booleans())
def test_what_is_split_the_short_way_is_what_the_parser_finds(
    pieces: list[bytes], is_begun: bool
) -> None:
    body = b"".join(pieces)
    if is_begun:  # by chance few would be
        body = part(body) + b"--b--b--\r\n"
    split = split_plain(CONTENT_TYPE, body, FEW)
    if split is not None:
        assert split == outcome(body)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=40), st.booleans()), min_size=1, max_size=FEW))
def test_content_is_kept_byte_for_byte(contents: list[tuple[bytes, bool]]) -> None:
    parts = (
        part(re.sub(b"\r\n--b--b", b"", content), "f", "x" if is_file else None)
        for content, is_file in contents
    )
    body = b"".join(parts) + b"--b--b--\r\n"
    split = split_plain(CONTENT_TYPE, body, FEW)
    assert split is not None
    assert split == outcome(body)
