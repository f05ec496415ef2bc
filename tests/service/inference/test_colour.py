"""Colours: what is not in sRGB is converted, and what is damaged is left."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from service.inference.decoding import decode
from service.inference.pictures import colour
from tests.contract.encodings import P3, SRGB, TO_P3, chunk, encode, grey_profile

LIMIT = 1_000_000
CASES = Path("tests/data/pictures")
PHOTOGRAPH = Image.open("tests/data/cat.jpg").convert("RGB").resize((90, 60))
WIDE = TO_P3.apply(PHOTOGRAPH)
WIDE.info.clear()  # Pillow would write the profile
SRGB_PRIMARIES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
P3_PRIMARIES = (0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)


def pixels(data: bytes, smallest: int | None = None) -> NDArray[np.int16]:
    return np.asarray(decode(data, LIMIT, smallest=smallest).image).astype(np.int16)


def apart(data: bytes, expected: Image.Image) -> float:
    return float(np.abs(pixels(data) - np.asarray(expected)).mean())


def with_chunks(*chunks: bytes, image: Image.Image = PHOTOGRAPH) -> bytes:
    """The picture as a PNG, with chunks before its pixels."""
    data = encode(image, "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 1e5)))


def primaries(values: tuple[float, ...]) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 1e5) for value in values)))


def test_profile_of_a_phone_is_converted() -> None:
    expected = Image.open(CASES / "cat-DisplayP3-in-sRGB.png").convert("RGB")
    assert apart((CASES / "cat-DisplayP3.png").read_bytes(), expected) < 0.1


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_profile_is_converted_in_each_format(format_: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "WEBP": {"lossless": True},
        "JPEG": {"quality": 95},
        "AVIF": {"quality": 95},
        "HEIF": {"quality": 95, "chroma": 444},
    }
    data = encode(WIDE, format_, icc_profile=P3, **options.get(format_, {}))
    assert apart(data, PHOTOGRAPH) < apart(data, WIDE) / 1.5


def test_profile_is_converted_under_transparency_and_in_palettes() -> None:
    shown = WIDE.copy()
    shown.putalpha(128)
    white = Image.new("RGBA", shown.size, "white")
    expected = PHOTOGRAPH.copy()
    expected.putalpha(128)
    flat = Image.alpha_composite(white, expected).convert("RGB")
    assert apart(encode(shown, "PNG", icc_profile=P3), flat) < 1
    few = WIDE.quantize(64)
    converted = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(P3)), ImageCms.createProfile("sRGB"), "RGB", "RGB"
    ).apply(few.convert("RGB"))
    assert apart(encode(few, "PNG", icc_profile=P3), converted) == 0


@pytest.mark.parametrize("mode", ["L", "LA"])
@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_profile_of_grey_is_converted(mode: str, format_: str) -> None:
    grey = Image.new(mode, (4, 4), 55 if mode == "L" else (55, 255))
    seen = pixels(encode(grey, format_, icc_profile=grey_profile(1.0)))
    assert np.abs(seen - 128).max() <= 1  # light of 55 / 255


def test_profile_of_ink_is_converted() -> None:
    """No profile of a press is free to ship: a table of one corner for each ink stands for it."""
    assert colour.conversion(ink_profile(), "CMYK")
    data = encode(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", icc_profile=ink_profile())
    assert np.abs(pixels(data) - [127, 127, 127]).max() < 12
    plain = encode(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG")
    assert np.abs(pixels(plain) - [0, 255, 255]).max() < 3


def ink_profile() -> bytes:
    """An ICC profile in which any ink makes grey."""
    size, values = 2, []
    for corner in range(size**4):
        inks = corner.bit_count()
        values += [round(65280 * (1 - 0.465 * inks) if inks < 2 else 0), 32768, 32768]
    curves = struct.pack(">HH", 0, 65535)
    table = b"mft2\0\0\0\0" + struct.pack(">BBBx", 4, 3, size)
    table += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table += struct.pack(">HH", 2, 2) + curves * 4
    table += struct.pack(f">{len(values)}H", *values) + curves * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"wtpt": white, b"A2B0": table}
    offset, directory = 132 + 12 * len(tags), struct.pack(">I", len(tags))
    for tag, content in tags.items():
        directory += tag + struct.pack(">II", offset, len(content))
        offset += len(content)
    kinds = (b"prtr", b"CMYK", b"Lab ", b"acsp")
    head = struct.pack(">I4xI4s4s4s12x4s28x", offset, 0x02400000, *kinds) + white[8:]
    return head.ljust(128, b"\0") + directory + b"".join(tags.values())


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(b"cICP", bytes([12, 13, 0, 1]))],
        [chunk(b"cICP", bytes([12, 13, 0, 1])), gamma(1), primaries(SRGB_PRIMARIES)],
    ],
    ids=["codes", "codes before numbers"],
)
def test_codes_of_a_png_are_applied(chunks: list[bytes]) -> None:
    assert apart(with_chunks(*chunks, image=WIDE), PHOTOGRAPH) < 0.6


def test_numbers_of_a_png_are_applied() -> None:
    profile = colour.profile_of_gamma(1 / 1.8, P3_PRIMARIES)
    assert profile
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    stored = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), source, "RGB", "RGB").apply(
        PHOTOGRAPH
    )
    stored.info.clear()
    data = with_chunks(gamma(1 / 1.8), primaries(P3_PRIMARIES), image=stored)
    assert apart(data, PHOTOGRAPH) < 1
    assert apart(with_chunks(image=stored), PHOTOGRAPH) > 5


def test_gamma_of_a_png_is_applied() -> None:
    # Light of 55 / 255, of which sRGB makes 128.
    data = with_chunks(gamma(1), image=Image.new("L", (4, 4), 55))
    assert np.abs(pixels(data) - 128).max() <= 1


@pytest.mark.parametrize(
    "invalid",
    [
        *(chunk(b"cICP", bytes(codes)) for codes in ((2, 2, 0, 1), (1, 13, 0, 0), (12, 13, 6, 1))),
        *(chunk(b"cICP", bytes([12, 13, 0])), chunk(b"sRGB", b"\4"), chunk(b"sRGB", b"\0\0")),
        *(chunk(b"cHRM", bytes(7)), chunk(b"cICP", b""), chunk(b"iCCP", b"a\0\0not packed")),
        *(chunk(b"iCCP", b"a\0\0" + zlib.compress(data)) for data in (b"no profile", P3[:300])),
        chunk(b"iCCP", b"a\0\7" + zlib.compress(P3)),
    ],
)
def test_chunk_that_names_no_colours_leaves_them_to_the_next(invalid: bytes) -> None:
    data = with_chunks(invalid, gamma(1), image=Image.new("L", (4, 4), 55))
    assert np.abs(pixels(data) - 128).max() <= 1


def test_codes_that_name_no_colours_leave_them_to_the_profile() -> None:
    unspecified = chunk(b"cICP", bytes([2, 2, 0, 1]))
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(P3))
    assert apart(with_chunks(unspecified, profile, image=WIDE), PHOTOGRAPH) < 0.6


@pytest.mark.parametrize(
    "chunks",
    [
        [gamma(0.45455)],
        [gamma(1), chunk(b"sRGB", b"\0")],
        [primaries(P3_PRIMARIES)],
        [gamma(0)],
        [chunk(b"gAMA", b"\0")],
        [gamma(1 / 1.8), primaries((0.3,) + (0.0,) * 7)],
        [gamma(1 / 1.8), primaries((0.0,) * 8)],
        [chunk(b"cICP", bytes([77, 99, 0, 1]))],
        [chunk(b"iCCP", b"a\0\0" + zlib.compress(SRGB))],
        [chunk(b"iCCP", b"a\0\0" + zlib.compress(b"no profile"))],
        [chunk(b"iCCP", b"a\0\0" + b"not packed")],
        [chunk(b"iCCP", b"a\0\7" + zlib.compress(SRGB))],
        [chunk(b"iCCP", b"")],
        [chunk(b"iCCP", b"a\0\0" + zlib.compress(P3[:300]))],
        [chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(8_000_000)))],
        [chunk(b"iCCP", b"a\0\0" + zlib.compress(grey_profile(1.0)))],
    ],
)
def test_srgb_and_nonsense_change_nothing(chunks: list[bytes]) -> None:
    assert apart(with_chunks(*chunks), PHOTOGRAPH) == 0


def test_broken_profile_of_a_jpeg_is_ignored() -> None:
    plain = pixels(encode(PHOTOGRAPH, "JPEG"))
    for profile in (b"x", P3[:200], b"\xff" * 5000, SRGB, bytes(colour.MAX_PROFILE_BYTES + 1)):
        np.testing.assert_array_equal(
            pixels(encode(PHOTOGRAPH, "JPEG", icc_profile=profile)), plain
        )


def test_video_codes_of_an_avif_are_applied() -> None:
    data = bytearray(encode(WIDE, "AVIF", quality=97, subsampling="4:4:4"))
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", 12, 1)
    assert apart(bytes(data), PHOTOGRAPH) < 1.5


def test_colours_are_converted_at_a_reduced_size() -> None:
    large = WIDE.resize((1301, 907))
    data = encode(large, "PNG", icc_profile=P3)
    reduced = decode(data, LIMIT * 2, smallest=64)
    assert reduced.image.size == (163, 114)
    np.testing.assert_array_equal(reduced.box, (0, 0, 1301 / 8, 907 / 8))
    whole = decode(data, LIMIT * 2)
    small, full = (
        picture.image.resize((32, 32), Image.Resampling.BILINEAR, picture.box)
        for picture in (reduced, whole)
    )
    assert np.abs(np.asarray(small).astype(int) - np.asarray(full)).max() <= 3


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([P3, SRGB, grey_profile(1.8), ink_profile()]), st.data())
def test_damaged_profiles_never_refuse_a_picture(profile: bytes, data: st.DataObject) -> None:
    damaged = bytearray(profile)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    mode = data.draw(st.sampled_from(["L", "RGB", "CMYK"]))
    encoded = encode(PHOTOGRAPH.convert(mode), "JPEG", icc_profile=bytes(damaged))
    assert decode(encoded, LIMIT).image.mode == "RGB"
