"""Plain JPEGs get the pixels, and damaged ones the errors, that they get by Pillow.

`make torture` tries 20,000 damaged files and 5,000 sound ones.
"""

import io
import os
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import simplejpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from service.errors import ServiceError
from service.inference import plain_jpeg
from service.inference.decoding import Picture, decode
from service.inference.opening import open_picture
from service.inference.plain_jpeg import PlainJpeg
from tests.contract import encodings
from tests.contract.encodings import encode

LIMIT = 1_000_000
DATA = Path("tests/data")
PHOTOGRAPH = Image.open(DATA / "cat.jpg").convert("RGB")
CIFAR10 = sorted((DATA / "cifar10").glob("*/*/*.jpg"))
WORDS = [b"\0\0", b"\xff\xff", b"\x80\0", b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\xff\xd0"]
TORTURE = "TORTURE" in os.environ
patient = settings(
    max_examples=5000 if TORTURE else 200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def by_pillow(data: bytes, smallest: int | None) -> NDArray[np.uint8]:
    image = JpegImageFile(io.BytesIO(data))
    if smallest:
        image.draft(None, (smallest, smallest))
    return np.asarray(image.convert("RGB"))


def check(data: bytes, smallest: int | None) -> None:
    """Decodes a plain JPEG, which takes no Pillow, and compares the pixels with Pillow's."""
    opened = open_picture(data, LIMIT, smallest)
    assert isinstance(opened.image, PlainJpeg)
    pixels = opened.image.decode()
    assert pixels is not None
    assert pixels.shape[:2] == (opened.image.height, opened.image.width)
    np.testing.assert_array_equal(pixels, by_pillow(data, smallest))


@st.composite
def plain_files(draw: st.DrawFn) -> bytes:
    """A part of a photograph in some size, as Pillow and simplejpeg write plain JPEGs."""
    size = draw(st.integers(1, 150)), draw(st.integers(1, 150))
    if draw(st.booleans()):
        size = size[0] * 3, size[1] * 3
    left, top = draw(st.integers(0, 300)), draw(st.integers(0, 150))
    image = PHOTOGRAPH.resize(size, Image.Resampling.BILINEAR, (left, top, left + 151, top + 150))
    quality = draw(st.integers(1, 100))
    if draw(st.booleans()):
        sampling = draw(st.sampled_from(["444", "422", "420", "440", "411"]))
        encoded: bytes = simplejpeg.encode_jpeg(
            np.asarray(image), quality, "RGB", sampling, draw(st.booleans())
        )
        return encoded
    options: dict[str, Any] = {
        "quality": quality,
        "progressive": draw(st.booleans()),
        "optimize": draw(st.booleans()),
        "subsampling": draw(st.integers(0, 2)),
        "restart_marker_blocks": draw(st.sampled_from([0, 0, 1, 3])),
        "comment": draw(st.sampled_from([b"", b"Made by hand."])),
    }
    return encode(image.convert(draw(st.sampled_from(["RGB", "L"]))), "JPEG", **options)


@patient
@given(plain_files(), st.sampled_from([None, 8, 16, 64]))
def test_plain_jpeg_has_the_pixels_of_pillow(data: bytes, smallest: int | None) -> None:
    check(data, smallest)


@pytest.mark.parametrize("path", CIFAR10, ids=lambda path: path.stem)
def test_picture_of_cifar10_has_the_pixels_of_pillow(path: Path) -> None:
    check(path.read_bytes(), smallest=64)


@pytest.mark.parametrize("smallest", [None, 64])
@pytest.mark.parametrize("size", [(451, 300), (513, 521), (1000, 130), (65, 900)])
def test_plain_jpeg_gives_the_picture_that_pillow_gives(
    size: tuple[int, int], smallest: int | None
) -> None:
    data = encode(PHOTOGRAPH.resize(size), "JPEG")
    assert outcome(data, smallest) == outcome_by_pillow(data, smallest)


def outcome(data: bytes, smallest: int | None) -> tuple[object, ...]:
    """What there is to compare of a picture or an error."""
    try:
        picture: Picture = decode(data, LIMIT, smallest)
    except ServiceError as error:
        return type(error), str(error)
    return picture.image.size, picture.image.tobytes(), picture.facts, picture.box


def outcome_by_pillow(data: bytes, smallest: int | None) -> tuple[object, ...]:
    with mock.patch.object(plain_jpeg, "read", return_value=None):
        return outcome(data, smallest)


GOOD = [
    *(path.read_bytes() for path in CIFAR10[::20]),
    encode(PHOTOGRAPH.resize((100, 75)), "JPEG", quality=50),
    encode(PHOTOGRAPH.resize((100, 75)), "JPEG", quality=50, progressive=True),
    encode(PHOTOGRAPH.resize((140, 150)).convert("L"), "JPEG", restart_marker_blocks=3),
]


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A plain JPEG, or the join of two, in which a few things were broken."""
    data = bytearray(draw(st.sampled_from(GOOD)))

    def place() -> int:
        return draw(st.integers(0, min(200, len(data))) | st.integers(0, len(data)))

    for _ in range(draw(st.integers(1, 4))):
        at = place()
        match draw(st.integers(0, 6)):
            case 0 | 1:
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 2:
                data[at : at + 2] = draw(st.sampled_from(WORDS))
            case 3:
                del data[at : at + draw(st.integers(1, 64))]
            case 4:
                data[at:at] = draw(st.binary(max_size=64))
            case 5:
                data = data[:at] + draw(st.sampled_from(GOOD))[place() :]
            case _:
                del data[at:]
    return bytes(data)


@settings(patient, max_examples=20_000 if TORTURE else 500)
@given(damaged_files(), st.sampled_from([None, 8]))
def test_damaged_jpeg_is_answered_as_by_pillow(data: bytes, smallest: int | None) -> None:
    assert outcome(data, smallest) == outcome_by_pillow(data, smallest)


@pytest.mark.parametrize("missing", [1, 2, 3, 200])
def test_jpeg_that_is_cut_off_is_answered_as_by_pillow(missing: int) -> None:
    for data in GOOD:
        cut = data[:-missing]
        assert isinstance(open_picture(cut, LIMIT).image, PlainJpeg)
        assert outcome(cut, None) == outcome_by_pillow(cut, None)


def exif() -> bytes:
    tags = Image.Exif()
    tags[0x0112] = 6
    return tags.tobytes()


PLAIN = encode(PHOTOGRAPH, "JPEG")
OTHERS = {
    "turned": encode(PHOTOGRAPH, "JPEG", exif=exif()),
    "with a profile": encode(PHOTOGRAPH, "JPEG", icc_profile=encodings.P3),
    "in RGB, by a marker of Adobe's": encode(PHOTOGRAPH, "JPEG", keep_rgb=True),
    "CMYK": encode(PHOTOGRAPH.convert("CMYK"), "JPEG"),
    "several pictures": encodings.mpo([PLAIN, PLAIN]),
    "with bytes between its segments": PLAIN[:2] + b"\xff" + PLAIN[2:],
    "with a short JFIF marker": PLAIN[:2] + b"\xff\xe0\0\x0aJFIF\0\1\1\0" + PLAIN[20:],
    "of 12 bits": PLAIN.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
    "of many segments": PLAIN[:2] + b"\xff\xfe\0\2" * 100 + PLAIN[2:],
    "without a frame": PLAIN[: PLAIN.index(b"\xff\xc0")] + PLAIN[PLAIN.index(b"\xff\xc4") :],
    "head alone": PLAIN[:100],
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_plain_is_left_to_pillow(name: str) -> None:
    assert plain_jpeg.read(PLAIN, None)
    assert plain_jpeg.read(OTHERS[name], None) is None
