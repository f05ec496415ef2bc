"""Formats: which parser reads what, and what is said of the rest."""

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.errors import UndecodableImageError, UnsupportedFormatError
from service.inference.decoding import decode
from service.inference.pictures import formats
from tests.contract.encodings import encode
from tests.service.inference.pictures import picture

LIMIT = 1_000_000
CAT = Path("tests/data/cat.jpg").read_bytes()
MPO = Path("tests/data/pictures/cat-mpo.jpg").read_bytes()


@pytest.mark.parametrize(
    ("written", "name"), [("HEIF", "HEIC"), ("AVIF", "AVIF"), ("TIFF", "TIFF"), ("MPO", "JPEG")]
)
def test_formats_of_phones_and_scanners_are_read(written: str, name: str) -> None:
    decoded = decode(encode(picture(), written, quality=95), LIMIT)
    assert (decoded.facts.width, decoded.facts.height, decoded.facts.format) == (40, 24, name)
    assert np.abs(np.asarray(decoded.image).astype(int) - np.asarray(picture())).mean() < 4


def test_portrait_of_a_phone_is_a_jpeg() -> None:
    assert decode(MPO, LIMIT).facts.format == "JPEG"


def test_heic_is_upright_and_in_srgb() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(picture().rotate(90, expand=True), "HEIF", quality=95, exif=exif.tobytes())
    decoded = decode(data, LIMIT)
    assert decoded.facts.width == 40
    assert np.abs(np.asarray(decoded.image).astype(int) - np.asarray(picture())).mean() < 4


def test_heic_without_its_package_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(formats.PARSERS, "HEIC")
    with pytest.raises(UnsupportedFormatError, match="extra `heic`"):
        decode(encode(picture(), "HEIF"), LIMIT)


def with_brands(data: bytes, major: bytes, *others: bytes) -> bytes:
    """The file with other names of what it conforms to."""
    length = int.from_bytes(data[:4], "big")
    room = length - 16
    names = (b"".join(others) * room)[:room]
    return data[:8] + major + data[12:16] + names + data[length:]


def test_heic_may_name_its_container_alone() -> None:
    decoded = decode(with_brands(encode(picture(), "HEIF"), b"mif1", b"mif1", b"miaf"), LIMIT)
    assert decoded.facts.format == "HEIC"


def test_avif_may_name_its_container_first() -> None:
    decoded = decode(with_brands(encode(picture(), "AVIF"), b"mif1", b"avif", b"miaf"), LIMIT)
    assert decoded.facts.format == "AVIF"


def test_heic_of_another_codec_is_not_supported_rather_than_broken() -> None:
    data = encode(picture(), "HEIF").replace(b"hvc1", b"vvc1").replace(b"hvcC", b"vvcC")
    with pytest.raises(UnsupportedFormatError, match="a HEIC of a kind that is not supported"):
        decode(data, LIMIT)


def test_avif_with_a_head_of_another_version_is_not_supported_rather_than_broken() -> None:
    data = b"\0\0\0\x10ftypmif3avif" + encode(picture(), "AVIF")[40:]
    with pytest.raises(UnsupportedFormatError, match="an AVIF of a kind that is not supported"):
        decode(data, LIMIT)


TIFF16 = np.asarray(picture().convert("L")).astype(np.uint16) * 257


def test_16_bit_tiff_is_scaled_and_not_clipped() -> None:
    decoded = decode(encode(Image.fromarray(TIFF16), "TIFF"), LIMIT)
    np.testing.assert_array_equal(np.asarray(decoded.image)[..., 0], TIFF16 >> 8)


def test_16_bit_tiff_whose_white_is_zero_is_inverted() -> None:
    data = encode(Image.fromarray(65535 - TIFF16), "TIFF", tiffinfo={262: 0})
    decoded = decode(data, LIMIT)
    np.testing.assert_array_equal(np.asarray(decoded.image)[..., 0], TIFF16 >> 8)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_tiff_without_a_range_of_values_is_not_supported(mode: str) -> None:
    with pytest.raises(UnsupportedFormatError, match="a TIFF of a kind"):
        decode(encode(Image.new(mode, (8, 8)), "TIFF"), LIMIT)


def test_tiff_of_lab_colours_is_converted() -> None:
    lab = Image.new("LAB", (4, 4), (255, 128, 128))
    assert np.asarray(decode(encode(lab, "TIFF"), LIMIT).image).min() >= 253


def test_tiff_of_too_many_pieces_is_undecodable(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(picture(), "TIFF", strip_size=120, compression="raw")
    assert decode(data, LIMIT)
    monkeypatch.setattr("service.inference.opening.MAX_READS", 20)
    with pytest.raises(UndecodableImageError, match="too many pieces"):
        decode(data, LIMIT)


@pytest.mark.parametrize("data", [CAT, encode(picture(), "PNG"), encode(picture(), "GIF"), MPO])
@pytest.mark.parametrize(
    "form", ["{}", "\n{}", "data:image/png;base64,{}", '{{"instances":[{{"b64":"{}"}}]}}']
)
def test_base64_and_json_are_told_where_to_go(data: bytes, form: str) -> None:
    text = form.format(base64.b64encode(data).decode()).encode()
    with pytest.raises(UnsupportedFormatError, match=r"/v1/models/<name>:predict"):
        decode(text, LIMIT)


@pytest.mark.parametrize("encode_", [base64.encodebytes, base64.urlsafe_b64encode])
@pytest.mark.parametrize("data", [CAT, encode(picture(), "AVIF")])
def test_other_kinds_of_base64_are_told_where_to_go(
    data: bytes, encode_: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(UnsupportedFormatError, match=r"/v1/models/<name>:predict"):
        decode(encode_(data), LIMIT)


def test_other_text_is_no_picture() -> None:
    with pytest.raises(UnsupportedFormatError, match="send JPEG, PNG, WebP"):
        decode(b"ThisIsNotAPictureInBase64AtAllOfCourse", LIMIT)
