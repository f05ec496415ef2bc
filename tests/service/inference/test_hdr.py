"""High dynamic range: how bright it is shown, and by which codes."""

import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.inference.decoding import decode
from service.inference.pictures import avif, hdr
from tests.contract.encodings import chunk, encode

LIMIT = 1_000_000
SRGB, BT2020, P3 = 1, 9, 12
GAMMA, PQ, HLG = 13, 16, 18
# Levels of PQ: 0, 10, 100, 203 and 1000 candela per square metre; the last is beyond the peak.
PQ_LEVELS = [0, 77, 130, 148, 192, 255]
SHOWN_OF_PQ = [0, 41, 137, 188, 255, 255]


def of_levels(levels: list[int]) -> Image.Image:
    return Image.fromarray(np.array([levels], np.uint8))


def seen(image: Image.Image, primaries: int, curve: int, *chunks: bytes) -> NDArray[np.int16]:
    data = encode(image, "PNG")
    codes = chunk(b"cICP", bytes([primaries, curve, 0, 1]))
    shown = decode(data[:33] + codes + b"".join(chunks) + data[33:], LIMIT).image
    return np.asarray(shown).astype(np.int16)


@pytest.mark.parametrize("primaries", [SRGB, BT2020, P3])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_white_of_paper_is_half_the_light(primaries: int, mode: str) -> None:
    shown = seen(of_levels(PQ_LEVELS).convert(mode), primaries, PQ)[0]
    assert np.abs(shown - np.array(SHOWN_OF_PQ)[:, None]).max() <= 5


def test_light_of_the_scene_is_shown_as_on_a_display() -> None:
    # 0, half and three quarters of the signal, and its peak.
    shown = seen(of_levels([0, 128, 192, 255]), BT2020, HLG)[0, :, 0]
    assert np.abs(shown - [0, 99, 189, 255]).max() <= 3


@pytest.mark.parametrize(
    ("peak", "white"), [(100, 255), (203, 255), (400, 228), (1000, 188), (4000, 188)]
)
def test_darker_peak_needs_less_compression(peak: int, white: int) -> None:
    light = chunk(b"cLLI", struct.pack(">II", peak * 10_000, 0))
    shown = seen(of_levels([148]), BT2020, PQ, light)[0, 0, 0]
    assert abs(shown - white) <= 5


def test_hues_stay_and_wide_colours_are_clipped() -> None:
    red, orange = seen(
        Image.fromarray(np.array([[[150, 0, 0], [192, 148, 0]]], np.uint8)), SRGB, PQ
    )[0]
    assert red[0] > 180
    assert red[1:].max() <= 2
    assert orange[0] > orange[1] > orange[2]
    assert seen(Image.new("RGB", (1, 1), (148, 0, 0)), BT2020, PQ)[0, 0, 1] == 0


def test_alpha_of_bright_pictures_stays() -> None:
    clear = Image.new("RGBA", (1, 1), (0, 0, 0, 0))
    assert seen(clear, BT2020, PQ).min() == 255


def test_tables_are_kept() -> None:
    assert hdr.table(BT2020, PQ, 0) is hdr.table(BT2020, PQ, 0)


def box(kind: bytes, *content: bytes) -> bytes:
    joined = b"".join(content)
    return struct.pack(">I", 8 + len(joined)) + kind + joined


def nclx(primaries: int, curve: int) -> bytes:
    return box(b"colr", b"nclx", struct.pack(">HHHB", primaries, curve, 6, 128))


def container(
    properties: list[bytes], owned: dict[int, list[int]], *, wide: bool = False, primary: int = 1
) -> bytes:
    """The head of an AVIF: properties, and which picture has which of them."""
    number, one = ("I", "H") if wide else ("H", "B")
    associated = struct.pack(">BxxBI", wide, wide, len(owned))
    for picture, numbers in owned.items():
        associated += struct.pack(f">{number}B{len(numbers)}{one}", picture, len(numbers), *numbers)
    essential = box(b"iprp", box(b"ipco", *properties), box(b"ipma", associated))
    first = box(b"pitm", bytes([wide, 0, 0, 0]), struct.pack(f">{number}", primary))
    meta = box(b"meta", bytes(4), box(b"hdlr", bytes(24)), first, essential)
    return box(b"ftyp", b"avif", bytes(4)) + meta


@pytest.mark.parametrize("wide", [False, True])
def test_codes_are_those_of_the_picture_that_is_shown(wide: bool) -> None:
    properties = [nclx(BT2020, PQ), box(b"ispe", bytes(12)), nclx(SRGB, GAMMA)]
    data = container(
        properties, {7: [1, 2], 3: [2, 3 | (0x8000 if wide else 0x80)]}, wide=wide, primary=3
    )
    assert avif.codes(data) == (SRGB, GAMMA, 0)


def test_brightest_light_is_that_of_the_picture() -> None:
    properties = [nclx(BT2020, PQ), box(b"clli", struct.pack(">HH", 700, 100))]
    assert avif.codes(container(properties, {1: [1, 2]})) == (BT2020, PQ, 700)
    assert avif.codes(container(properties, {1: [1], 2: [2]})) == (BT2020, PQ, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0\7ftyp",
        container([nclx(BT2020, PQ)], {1: [1]})[:-9],
        container([nclx(BT2020, PQ)], {2: [1]}),
        container([nclx(BT2020, PQ)], {1: [9]}),
        container([nclx(BT2020, PQ)], {1: [0]}),
        container([box(b"colr", b"prof")], {1: [1]}),
        box(b"meta", b"") + bytes(8) * 20_000,
    ],
)
def test_container_without_codes_has_none(data: bytes) -> None:
    assert avif.codes(data) is None


def test_codes_of_an_avif_are_applied() -> None:
    data = bytearray(encode(of_levels(PQ_LEVELS).resize((60, 10), 0), "AVIF", quality=100))
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", BT2020, PQ)
    shown = np.asarray(decode(bytes(data), LIMIT).image)[5, 5::10, 0].astype(int)
    assert np.abs(shown - SHOWN_OF_PQ).max() <= 6
