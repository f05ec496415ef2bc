"""BMP: kinds that Pillow does not read, or reads otherwise than browsers."""

import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.errors import UndecodableImageError, UnsupportedFormatError
from service.inference.decoding import decode
from tests.contract.encodings import P3, encode
from tests.service.inference.pictures import picture

LIMIT = 1_000_000
RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255,) * 3, (0,) * 3
Colour = tuple[int, ...]
FIELDS, ALPHA_FIELDS = 3, 6


def bmp(
    size: tuple[int, int],
    bits: int,
    pixels: bytes,
    *,
    compression: int = 0,
    palette: tuple[tuple[int, ...], ...] = (),
    colours: int | None = None,
    masks: tuple[int, ...] = (),
    header: int = 40,
) -> bytes:
    """A BMP; the lowest row comes first, and each is filled up to 4 bytes."""
    count = len(palette) if colours is None else colours
    head = struct.pack("<IiiHHIIiiII", header, *size, 1, bits, compression, 0, 0, 0, count, 0)
    head += struct.pack(f"<{len(masks)}I", *masks)
    head = head.ljust(header, b"\0")
    head += b"".join(bytes([blue, green, red, 0]) for red, green, blue in palette)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(head)) + head + pixels


def seen(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(decode(data, LIMIT).image)


@pytest.mark.parametrize(
    ("bits", "masks"),
    [
        (16, (0x00E0, 0x001C, 0x0003)),
        (16, (0x0F00, 0x00F0, 0x000F)),
        (16, (0x7C00, 0x03E0, 0x001F)),
        (32, (0xFF << 24, 0xFF << 16, 0xFF << 8)),
        (32, (0xFF << 8, 0xFF << 16, 0xFF << 24)),
        (32, (0x3FF << 20, 0x3FF << 10, 0x3FF)),
        (32, (0xFFFF << 16, 0xFF << 8, 0x1)),
    ],
)
def test_any_fields_are_read(bits: int, masks: tuple[int, ...]) -> None:
    values = [*masks, sum(masks)]
    pixels = np.array(values, f"<u{bits // 8}").tobytes()
    data = bmp((4, 1), bits, pixels, compression=FIELDS, masks=masks)
    assert seen(data)[0].tolist() == [list(colour) for colour in (RED, GREEN, BLUE, WHITE)]


def test_levels_of_a_field_are_spread_over_all() -> None:
    pixels = np.arange(16, dtype="<u2").tobytes()
    data = bmp((16, 1), 16, pixels, compression=FIELDS, masks=(0xF000, 0x0F00, 0x000F))
    assert seen(data)[0, :, 2].tolist() == [17 * level for level in range(16)]


@pytest.mark.parametrize("header", [56, 108, 124])
@pytest.mark.parametrize("bits", [16, 32])
def test_alpha_of_fields_is_mixed_with_white(bits: int, header: int) -> None:
    masks = (0x7C00, 0x03E0, 0x001F, 0x8000)
    pixels = np.array([0x8000, 0x0000, 0xFC00, 0x7C00], f"<u{bits // 8}").tobytes()
    data = bmp((2, 2), bits, pixels, compression=FIELDS, masks=masks, header=header)
    if bits == 16:
        assert seen(data).tolist() == [[[255, 0, 0], [255] * 3], [[0] * 3, [255] * 3]]
    assert seen(data)[1].tolist() == [list(BLACK), list(WHITE)]


def test_alpha_in_fields_of_an_old_header_needs_its_own_compression() -> None:
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    pixels = struct.pack("<2I", 0xFF0000, 0xFF0000FF)
    data = bmp((2, 1), 32, pixels, compression=ALPHA_FIELDS, masks=masks, header=40 + 16)
    assert seen(data)[0].tolist() == [list(WHITE), list(BLUE)]


@pytest.mark.parametrize("height", [3, -3])
def test_rows_of_fields_are_in_order(height: int) -> None:
    rows = [struct.pack("<2H", level, level) for level in (0, 0x0F, 0xF0)]
    masks = (0x0F00, 0x00F0, 0x000F)
    data = bmp((2, height), 16, b"".join(rows), compression=FIELDS, masks=masks)
    expected = [list(BLACK), list(BLUE), list(GREEN)]
    assert seen(data)[:, 1].tolist() == expected[:: -1 if height > 0 else 1]


@pytest.mark.parametrize("bits", [16, 32])
def test_large_picture_of_fields_is_read_in_strips(
    bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.inference.pictures.bmp._STRIP", 100)
    levels = np.random.default_rng(0).integers(0, 16, (23, 30, 3))
    samples = (levels[..., 0] << 8 | levels[..., 1] << 4 | levels[..., 2]).astype(f"<u{bits // 8}")
    data = bmp((30, -23), bits, samples.tobytes(), compression=FIELDS, masks=(0xF00, 0xF0, 0xF))
    np.testing.assert_array_equal(seen(data), levels * 17)


@pytest.mark.parametrize("given", [4, 0])
def test_pixels_of_2_bits_are_read(given: int) -> None:
    palette = (BLACK, RED, GREEN, BLUE)
    pixels = bytes([0b00011011, 0b11000000, 0, 0])
    data = bmp((5, 1), 2, pixels, palette=palette, colours=given)
    assert seen(data)[0].tolist() == [list(colour) for colour in (*palette, BLUE)]


def test_palette_of_more_colours_than_needed_is_read() -> None:
    palette = tuple((index % 256, 7, 9) for index in range(300))
    data = bmp((4, 1), 8, bytes([0, 1, 200, 255]), palette=palette)
    assert seen(data)[0, :, 0].tolist() == [0, 1, 200, 255]


@pytest.mark.parametrize("bits", [4, 8])
def test_palette_of_black_and_white_is_not_one_of_single_bits(bits: int) -> None:
    pixels = bytes([0x01, 0x10, 0, 0]) if bits == 4 else bytes([0, 1, 1, 0])
    data = bmp((4, 1), bits, pixels, palette=(BLACK, WHITE))
    assert seen(data)[0, :, 0].tolist() == [0, 255, 255, 0]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("palette", [(BLACK, WHITE), (RED, GREEN), (RED,), (BLACK,)])
def test_numbers_beyond_the_palette_are_black(bits: int, palette: tuple[Colour, ...]) -> None:
    pixels = bytes([0x02, 0x90, 0, 0]) if bits == 4 else bytes([0, 2, 9, 0])
    data = bmp((4, 1), bits, pixels, palette=palette)
    expected = [palette[0], BLACK, BLACK, palette[0]]
    assert seen(data)[0].tolist() == [list(colour) for colour in expected]


def test_palette_of_one_colour_is_read_in_1_bit() -> None:
    data = bmp((4, 1), 1, bytes([0b01010000, 0, 0, 0]), palette=(BLACK,))
    assert not seen(data).any()


RUNS = {
    8: bytes([2, 1, 0, 3, 1, 2, 3, 0, 0, 0, 0, 2, 1, 0, 3, 3, 0, 0, 0, 0, 0, 1]),
    4: bytes([2, 0x11, 0, 3, 0x12, 0x30, 0, 0, 0, 2, 1, 0, 3, 0x33, 0, 0, 0, 0, 0, 1]),
}


@pytest.mark.parametrize("bits", RUNS)
def test_places_that_no_run_covers_are_black(bits: int) -> None:
    palette = (WHITE, RED, GREEN, BLUE)
    data = bmp((5, 4), bits, RUNS[bits], compression=1 if bits == 8 else 2, palette=palette)
    black = [BLACK] * 5
    lowest = [RED, RED, RED, GREEN, BLUE]
    expected = [black, black, [BLACK, BLUE, BLUE, BLUE, BLACK], lowest]
    assert seen(data).tolist() == [[list(colour) for colour in row] for row in expected]


@pytest.mark.parametrize("bits", RUNS)
def test_runs_of_two_colours_are_read(bits: int) -> None:
    data = bmp((5, 4), bits, RUNS[bits], compression=1 if bits == 8 else 2, palette=(RED, WHITE))
    assert seen(data)[3].tolist() == [[255] * 3] * 3 + [[0] * 3] * 2


@pytest.mark.parametrize("bits", RUNS)
def test_runs_that_are_cut_off_are_undecodable(bits: int) -> None:
    data = bmp((5, 4), bits, RUNS[bits][:-4], compression=1 if bits == 8 else 2, palette=(RED,) * 4)
    with pytest.raises(UndecodableImageError, match="broken or cut off"):
        decode(data, LIMIT)


def test_runs_beyond_the_picture_are_left() -> None:
    runs = bytes([9, 1, 2, 2, 0, 0, 0, 2, 0, 9, 3, 3, 0, 1])
    data = bmp((3, 2), 8, runs, compression=1, palette=(BLACK, RED, GREEN, BLUE))
    assert seen(data).tolist() == [[list(BLACK)] * 3, [list(RED)] * 3]


def test_picture_of_too_many_runs_is_undecodable(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = (bytes([1, 1]) * 200 + bytes(2)) * 40
    data = bmp((200, 40), 8, runs, compression=1, palette=(RED, BLUE))
    assert decode(data, LIMIT)
    monkeypatch.setattr("service.inference.opening.MAX_READS", 2000)
    with pytest.raises(UndecodableImageError, match="too many pieces"):
        decode(data, LIMIT)


def test_profile_in_a_bmp_is_converted() -> None:
    plain = encode(picture().convert("RGB"), "BMP")
    pixels = plain[54:]
    head = struct.pack("<IiiHHII16x", 124, 40, 24, 1, 24, 0, 0)
    head = head.ljust(56, b"\0") + b"DEBM" + bytes(48 + 4)
    head += struct.pack("<II4x", 124 + len(pixels), len(P3))
    data = b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 124) + head + pixels + P3
    expected = decode(encode(picture().convert("RGB"), "PNG", icc_profile=P3), LIMIT).image
    np.testing.assert_array_equal(seen(data), np.asarray(expected))
    assert np.abs(seen(data).astype(int) - seen(plain)).max() > 5


def test_picture_of_fields_that_lacks_rows_is_undecodable() -> None:
    data = bmp((9, 9), 16, bytes(40), compression=FIELDS, masks=(0xF00, 0xF0, 0xF))
    with pytest.raises(UndecodableImageError):
        decode(data, LIMIT)


@pytest.mark.parametrize(
    "data",
    [
        bmp((8, 8), 16, bytes(256), compression=FIELDS, masks=(0x0880, 0x0440, 0x0220)),
        bmp((8, 8), 24, bytes(256), compression=4, header=64),
        bmp((8, 8), 1, bytes(256), compression=3, header=64, palette=(BLACK, WHITE)),
        bmp((8, 8), 0, bytes(256), compression=4),
        bmp((8, 8), 0, bytes(256), compression=5),
        bmp((8, 8), 64, bytes(512)),
        bmp((8, 8), 8, bytes(256), header=16),
    ],
    ids=["fields with gaps", "RLE24", "Huffman", "JPEG", "PNG", "64 bits", "short header"],
)
def test_uncommon_bmp_is_not_supported_rather_than_broken(data: bytes) -> None:
    with pytest.raises(UnsupportedFormatError, match="a BMP of a kind that is not supported"):
        decode(data, LIMIT)


@pytest.mark.parametrize("change", [(18, b"\0\0\0\0"), (26, b"\7\0"), (28, b"\x63\0")])
def test_bmp_with_a_broken_head_is_undecodable(change: tuple[int, bytes]) -> None:
    place, content = change
    data = bytearray(bmp((8, 8), 64, bytes(512)))
    data[place : place + len(content)] = content
    with pytest.raises(UndecodableImageError):
        decode(bytes(data), LIMIT)


def test_pictures_that_pillow_writes_are_as_before() -> None:
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        image = picture().convert(mode)
        expected = image.convert("RGB")
        np.testing.assert_array_equal(seen(encode(image, "BMP")), np.asarray(expected))


def test_empty_fields_are_left_to_the_parser() -> None:
    # Pillow takes such masks for the usual ones.
    pixels = Image.new("RGBA", (2, 2), (1, 2, 3, 255)).tobytes("raw", "BGRA")
    data = bmp((2, 2), 32, pixels, compression=FIELDS, masks=(0, 0, 0))
    assert seen(data)[0, 0].tolist() == [1, 2, 3]
