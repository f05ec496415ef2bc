"""JPEG: cut and joined files, uncommon kinds, and what a large one costs."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.errors import TooManyPixelsError, UndecodableImageError, UnsupportedFormatError
from service.inference.decoding import decode
from service.inference.pictures import jpeg
from tests.contract.encodings import encode

LIMIT = 1_000_000
CAT = Path("tests/data/cat.jpg").read_bytes()
PHOTOGRAPH = Image.open(io.BytesIO(CAT))
PROGRESSIVE = encode(PHOTOGRAPH, "JPEG", quality=90, progressive=True)
FILES = {"baseline": CAT[: CAT.rindex(b"\xff\xd9") + 2], "progressive": PROGRESSIVE}
every_file = pytest.mark.parametrize("data", FILES.values(), ids=FILES)


@every_file
@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("smallest", [None, 64])
def test_jpeg_without_its_end_marker_is_read(
    data: bytes, missing: int, smallest: int | None
) -> None:
    cut = decode(data[:-missing], LIMIT, smallest=smallest)
    whole = decode(data, LIMIT, smallest=smallest)
    np.testing.assert_array_equal(np.asarray(cut.image), np.asarray(whole.image))
    assert cut.box == whole.box


@every_file
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("smallest", [None, 64])
def test_part_of_a_jpeg_is_refused(data: bytes, share: float, smallest: int | None) -> None:
    with pytest.raises(UndecodableImageError):
        decode(data[: int(len(data) * share)], LIMIT, smallest=smallest)


def test_progressive_jpeg_that_lacks_whole_scans_is_refused() -> None:
    scans = [found.start() for found in re.finditer(rb"\xff\xda", PROGRESSIVE)]
    tables = PROGRESSIVE.rindex(b"\xff\xc4", 0, scans[-1])
    with pytest.raises(UndecodableImageError):
        decode(PROGRESSIVE[:tables], LIMIT)


def test_many_jpegs_in_a_row_are_the_first_of_them() -> None:
    stream = PROGRESSIVE + CAT * 60
    assert stream.count(b"\xff\xda") > 60
    np.testing.assert_array_equal(
        np.asarray(decode(stream, LIMIT).image), np.asarray(decode(PROGRESSIVE, LIMIT).image)
    )


def test_scans_in_a_thumbnail_are_not_counted() -> None:
    exif = b"Exif\0\0" + b"\xff\xda\0\x08\x01" * 100
    assert not jpeg.has_more_scans(encode(PHOTOGRAPH, "JPEG", exif=exif), 50)


def with_header(coding: int, precision: int = 8) -> bytes:
    """The photograph as if it were of another kind."""
    at = CAT.index(b"\xff\xc0")
    return (
        CAT[:at] + bytes([0xFF, coding]) + CAT[at + 2 : at + 4] + bytes([precision]) + CAT[at + 5 :]
    )


@pytest.mark.parametrize(("coding", "precision"), [(0xC1, 12), (0xC3, 8), (0xC3, 16), (0xC7, 8)])
def test_uncommon_jpeg_is_not_supported_rather_than_broken(coding: int, precision: int) -> None:
    with pytest.raises(UnsupportedFormatError, match="a JPEG of a kind that is not supported"):
        decode(with_header(coding, precision), LIMIT)


def test_jpeg_whose_height_follows_its_pixels_is_not_supported_rather_than_broken() -> None:
    at = CAT.index(b"\xff\xc0") + 5
    with pytest.raises(UnsupportedFormatError, match="a JPEG of a kind that is not supported"):
        decode(CAT[:at] + bytes(2) + CAT[at + 2 :], LIMIT)


@pytest.mark.parametrize(
    ("options", "mode", "expected"),
    [
        ({}, "RGB", 0),
        ({"progressive": True}, "L", 2),
        ({"progressive": True, "subsampling": 2}, "RGB", 3),
        ({"progressive": True, "subsampling": 0}, "RGB", 6),
        ({"progressive": True}, "CMYK", 8),
    ],
)
def test_memory_of_coefficients_is_known(
    options: dict[str, int], mode: str, expected: float
) -> None:
    frame = jpeg.read_frame(encode(PHOTOGRAPH.convert(mode), "JPEG", **options))
    assert frame
    assert frame.bytes_per_pixel == expected


def blank(width: int, height: int, *, progressive: bool = False) -> bytes:
    return encode(Image.new("L", (width, height), 200), "JPEG", progressive=progressive)


def test_picture_of_a_phone_in_its_50_megapixel_mode_is_read() -> None:
    decoded = decode(blank(8160, 6144), 50_000_000, smallest=64)
    assert (decoded.facts.width, decoded.facts.height) == (8160, 6144)
    assert decoded.image.size == (1020, 768)


def test_jpeg_may_have_four_times_the_pixels() -> None:
    assert decode(blank(2000, 2000), LIMIT, smallest=64).facts.width == 2000
    with pytest.raises(TooManyPixelsError, match=r"2001 x 2000 .* 4,000,000 in all"):
        decode(blank(2001, 2000), LIMIT, smallest=64)


def test_progressive_jpeg_is_limited_by_its_coefficients() -> None:
    data = encode(Image.new("CMYK", (1300, 1300)), "JPEG", progressive=True)
    assert decode(data, LIMIT * 2, smallest=64)
    with pytest.raises(TooManyPixelsError, match="for this kind of JPEG"):
        decode(data, LIMIT, smallest=64)


def test_jpeg_in_its_full_size_is_limited_as_other_formats() -> None:
    with pytest.raises(TooManyPixelsError, match="1,333,333 in all"):
        decode(blank(1334, 1000), LIMIT)
