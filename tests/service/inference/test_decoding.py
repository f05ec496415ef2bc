"""Decoding: each format, each kind of damage, each limit."""

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from service.errors import (
    EmptyUploadError,
    ServiceError,
    TooManyPixelsError,
    UndecodableImageError,
    UnsupportedFormatError,
)
from service.inference.decoding import decode
from tests.service.conftest import encode
from tests.service.inference.pictures import picture

LIMIT = 1_000_000
OTHER_BYTES = [
    b"hello",
    b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    b"\0",
    b"RIFF\x24\0\0\0WAVEfmt " + bytes(24),
    b" " + encode(Image.new("RGB", (8, 8))),
]


def pixels_of(data: bytes) -> NDArray[np.int16]:
    return np.asarray(decode(data, LIMIT)[0]).astype(np.int16)


def difference(data: bytes, expected: Image.Image) -> float:
    """Greatest difference of a channel, averaged over the picture."""
    return float(np.abs(pixels_of(data) - np.asarray(expected)).mean((0, 1)).max())


@pytest.mark.parametrize(
    ("format_", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95}, 2),
        ("JPEG", {"quality": 95, "progressive": True}, 2),
        ("GIF", {}, 12),
    ],
)
def test_each_format_gives_the_picture(
    format_: str, options: dict[str, Any], tolerance: float
) -> None:
    data = encode(picture(), format_, **options)
    assert difference(data, picture()) <= tolerance
    facts = decode(data, LIMIT)[1]
    assert (facts.width, facts.height, facts.format) == (40, 24, format_)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(format_: str, orientation: int) -> None:
    # How a camera stores the upright picture for each orientation.
    turn = Image.Transpose
    stored_by = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_90,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_270,
    }
    stored = picture()
    if orientation in stored_by:
        stored = stored.transpose(stored_by[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"lossless": True} if format_ == "WEBP" else {"quality": 95}
    data = encode(stored, format_, exif=exif, **options)
    assert difference(data, picture()) <= 2
    assert decode(data, LIMIT)[1].width == 40


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_ignored() -> None:
    data = encode(picture(), "JPEG", quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert difference(data, picture()) <= 2


@pytest.mark.parametrize("exif", [None, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"])
def test_orientation_in_other_metadata_does_not_count(exif: bytes | None) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6"/></x:xmpmeta>'
    options: dict[str, Any] = {"exif": exif} if exif else {}
    data = encode(picture(), "JPEG", quality=95, xmp=xmp, **options)
    assert difference(data, picture()) <= 2


@pytest.mark.parametrize("mode", ["P", "1", "L"])
def test_palette_and_grey_give_their_colours(mode: str) -> None:
    image = picture().convert(mode)
    assert difference(encode(image), image.convert("RGB")) == 0


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_transparency_is_white(format_: str) -> None:
    image = picture().convert("RGBA")
    image.paste((255, 0, 0, 0), (0, 0, 20, 24))
    expected = picture()
    expected.paste((255, 255, 255), (0, 0, 20, 24))
    options = {"lossless": True, "exact": True} if format_ == "WEBP" else {}
    assert difference(encode(image, format_, **options), expected) == 0


def test_half_transparency_is_mixed_with_white() -> None:
    assert pixels_of(encode(Image.new("RGBA", (1, 1), (0, 0, 0, 128))))[0, 0].tolist() == [127] * 3


def test_grey_with_alpha_is_white_where_it_is_transparent() -> None:
    assert pixels_of(encode(Image.new("LA", (1, 1), (90, 0))))[0, 0].tolist() == [255] * 3


def test_transparent_palette_entry_is_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    for format_ in ("PNG", "GIF"):
        data = encode(image, format_, transparency=0)
        assert pixels_of(data)[0].tolist() == [[255, 255, 255], [0, 0, 255]]


def test_transparent_colour_of_an_rgb_png_is_white() -> None:
    data = encode(Image.new("RGB", (1, 1), (9, 9, 9)), transparency=(9, 9, 9))
    assert pixels_of(data)[0, 0].tolist() == [255] * 3


def test_16_bit_grey_is_scaled_and_not_clipped() -> None:
    grey = np.asarray(picture().convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert difference(encode(deep), picture().convert("L").convert("RGB")) == 0


def test_cmyk_jpeg_gives_its_colours() -> None:
    assert difference(encode(picture().convert("CMYK"), "JPEG", quality=95), picture()) <= 3


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame(format_: str) -> None:
    others = [Image.new("RGB", (40, 24), "black")] * 2
    options = {"lossless": True} if format_ == "WEBP" else {}
    data = encode(picture(), format_, save_all=True, append_images=others, duration=50, **options)
    assert difference(data, picture()) <= 12


def test_empty_upload_is_refused() -> None:
    with pytest.raises(EmptyUploadError):
        decode(b"", LIMIT)


@pytest.mark.parametrize("format_", ["ICO", "PPM", "TGA", "PDF", "JPEG2000", "DDS", "PCX"])
def test_other_formats_of_pillow_are_refused(format_: str) -> None:
    with pytest.raises(UnsupportedFormatError):
        decode(encode(picture(), format_), LIMIT)


@pytest.mark.parametrize("data", OTHER_BYTES)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedFormatError):
        decode(data, LIMIT)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_broken_head_of_an_accepted_format_is_undecodable(format_: str) -> None:
    with pytest.raises(UndecodableImageError):
        decode(encode(picture(), format_)[:16], LIMIT)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_truncated_picture_is_undecodable(format_: str) -> None:
    data = encode(picture(200, 200), format_)
    with pytest.raises(UndecodableImageError):
        decode(data[: len(data) // 2], LIMIT)


def png_that_claims(width: int, height: int) -> bytes:
    data = bytearray(encode(Image.new("1", (8, 8))))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def test_limit_is_checked_before_decoding() -> None:
    # The header promises far more than the few bytes behind it could hold. A PNG takes 9 bytes a
    # pixel, and the limit stands for pixels of 12.
    with pytest.raises(TooManyPixelsError, match=r"1334 x 1000 .* 1,333,333 in all .* PNG"):
        decode(png_that_claims(1334, 1000), LIMIT)


def test_picture_at_the_limit_is_accepted() -> None:
    assert decode(encode(Image.new("1", (1333, 1000))), LIMIT)[1].width == 1333


@pytest.mark.filterwarnings("ignore:Image size:PIL.Image.DecompressionBombWarning")
def test_decompression_bomb_of_pillow_is_too_many_pixels() -> None:
    gif = bytearray(encode(picture(), "GIF"))
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    with pytest.raises(TooManyPixelsError):
        decode(bytes(gif), 10**8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_pieces(format_: str, count: int) -> bytes:
    """A good picture with so many empty segments, chunks or extensions."""
    data = encode(picture(), format_)
    piece, at = {
        "JPEG": (b"\xff\xe9\0\2", 2),
        "PNG": (chunk(b"prVt", b""), 33),
        "GIF": (b"!\xfe\x01x\0", data.find(b",\0\0\0\0")),
    }[format_]
    return data[:at] + piece * count + data[at:]


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF"])
def test_picture_of_too_many_pieces_is_undecodable(
    format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.inference.opening.MAX_READS", 2000)
    assert decode(with_pieces(format_, 100), LIMIT)
    with pytest.raises(UndecodableImageError, match="too many pieces"):
        decode(with_pieces(format_, 2000), LIMIT)


def with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = encode(picture(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def test_jpeg_of_too_many_scans_is_undecodable() -> None:
    assert decode(with_scans(20), LIMIT)
    with pytest.raises(UndecodableImageError, match="too many pieces"):
        decode(with_scans(60), LIMIT)


def test_bytes_after_a_jpeg_are_not_counted_as_its_scans() -> None:
    assert decode(encode(picture(), "JPEG") + b"\xff\xda" * 1000, LIMIT)


def test_huge_text_chunk_is_not_read() -> None:
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b" " * 80_000_000))
    data = encode(picture())
    assert difference(data[:33] + text + data[33:], picture()) == 0
    with pytest.raises(UndecodableImageError):
        decode(data[:-12] + text + data[-12:], LIMIT)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]), st.data())
def test_damaged_bytes_give_a_picture_or_a_known_error(format_: str, data: st.DataObject) -> None:
    damaged = bytearray(encode(picture(), format_))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(damaged), LIMIT)
    except ServiceError:
        return
    assert decoded.image.mode == "RGB"
    assert decoded.image.size == (decoded.facts.width, decoded.facts.height)
