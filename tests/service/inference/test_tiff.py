"""TIFF: kinds that Pillow does not write, or reads wrongly."""

import struct
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import UndecodableImageError, UnsupportedFormatError
from service.inference.decoding import decode
from service.inference.pictures import kinds
from tests.service.inference.pictures import picture

LIMIT = 1_000_000
RGB = np.asarray(picture())
GREY = RGB[..., 1]
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS = 256, 257, 258, 259, 262, 273
SAMPLES, ROWS, SIZES, PLANES, PALETTE, EXTRA = 277, 278, 279, 284, 320, 338
SHORT, LONG, BIG = 3, 4, 16


def tiff(
    parts: list[NDArray[np.generic]],
    tags: Mapping[int, tuple[int, ...]],
    *,
    order: Literal["<", ">"] = "<",
    is_big: bool = False,
) -> bytes:
    """A TIFF of uncompressed strips, each the whole picture or a plane of it."""
    height, width = parts[0].shape[:2]
    strips = [part.astype(part.dtype.newbyteorder(order)).tobytes() for part in parts]
    start = 16 if is_big else 8
    offsets = tuple(start + sum(map(len, strips[:number])) for number in range(len(strips)))
    entries = {WIDTH: (width,), HEIGHT: (height,), COMPRESSION: (1,), ROWS: (height,), **tags}
    entries |= {OFFSETS: offsets, SIZES: tuple(map(len, strips))}
    content = b"".join(strips)
    content += bytes(len(content) % 2)
    directory, room = b"", 8 if is_big else 4
    after = start + len(content)
    for tag, values in sorted(entries.items()):
        kind = LONG if tag in (OFFSETS, SIZES) else SHORT
        packed = struct.pack(f"{order}{len(values)}{'I' if kind == LONG else 'H'}", *values)
        if len(packed) > room:
            content += packed
            packed = struct.pack(order + ("Q" if is_big else "I"), after)
            after = start + len(content)
        head = struct.pack(order + ("HHQ" if is_big else "HHI"), tag, kind, len(values))
        directory += head + packed.ljust(room, b"\0")
    count = struct.pack(order + ("Q" if is_big else "H"), len(entries))
    name = b"II" if order == "<" else b"MM"
    if is_big:
        head = name + struct.pack(order + "HHHQ", 43, 8, 0, start + len(content))
    else:
        head = name + struct.pack(order + "HI", 42, start + len(content))
    return head + content + count + directory + bytes(room)


def seen(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(decode(data, LIMIT).image)


def planes(pixels: NDArray[np.uint8], bits: int) -> list[NDArray[np.generic]]:
    samples = pixels.astype(np.uint16) * 257 if bits == 16 else pixels
    return [samples[..., channel] for channel in range(pixels.shape[2])]


def in_planes(count: int, bits: int, photometric: int = 2) -> dict[int, tuple[int, ...]]:
    return {BITS: (bits,) * count, PHOTOMETRIC: (photometric,), SAMPLES: (count,), PLANES: (2,)}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
def test_samples_in_planes_are_read_at_every_depth(bits: int, order: Literal["<", ">"]) -> None:
    data = tiff(planes(RGB, bits), in_planes(3, bits), order=order)
    np.testing.assert_array_equal(seen(data), RGB)


@pytest.mark.parametrize("bits", [8, 16])
def test_alpha_in_a_plane_of_its_own_is_mixed_with_white(bits: int) -> None:
    clear = np.dstack([RGB, np.zeros_like(GREY)])
    clear[:, 20:, 3] = 255
    data = tiff(planes(clear, bits), in_planes(4, bits) | {EXTRA: (2,)})
    expected = RGB.copy()
    expected[:, :20] = 255
    np.testing.assert_array_equal(seen(data), expected)


def test_grey_in_one_plane_is_read() -> None:
    tags = in_planes(1, 8, photometric=1)
    np.testing.assert_array_equal(seen(tiff([GREY], tags))[..., 0], GREY)


@pytest.mark.parametrize(
    ("count", "bits", "tags"),
    [
        (1, 16, {PHOTOMETRIC: (1,)}),
        (1, 8, {PHOTOMETRIC: (0,)}),
        (4, 16, {PHOTOMETRIC: (5,)}),
        (4, 8, {EXTRA: (1,)}),
        (2, 8, {PHOTOMETRIC: (1,), EXTRA: (2,)}),
    ],
    ids=["deep grey", "inverted", "deep ink", "mixed alpha", "grey with alpha"],
)
def test_planes_that_are_not_known_are_not_supported(
    count: int, bits: int, tags: dict[int, tuple[int, ...]]
) -> None:
    pixels = np.dstack([RGB, GREY])[..., :count]
    with pytest.raises(UnsupportedFormatError, match="a TIFF of a kind"):
        decode(tiff(planes(pixels, bits), in_planes(count, bits) | tags), LIMIT)


@pytest.mark.parametrize("factor", [1, 256, 257])
def test_palette_of_8_or_16_bits_is_read(factor: int) -> None:
    image = picture().quantize(64)
    levels = np.zeros((256, 3), int)
    levels[:64] = np.reshape(image.getpalette() or [], (-1, 3))[:64]
    palette = tuple((levels.T.ravel() * factor).tolist())
    data = tiff([np.asarray(image)], {BITS: (8,), PHOTOMETRIC: (3,), PALETTE: palette})
    np.testing.assert_array_equal(seen(data), np.asarray(image.convert("RGB")))


def test_big_tiff_is_read() -> None:
    data = tiff([GREY], {BITS: (8,), PHOTOMETRIC: (1,)}, is_big=True)
    np.testing.assert_array_equal(seen(data)[..., 0], GREY)
    assert kinds.tiff_pieces(data) == 1


@pytest.mark.parametrize("compression", [6, 34661, 34712, 50001])
def test_compression_that_is_not_decoded_is_not_supported(compression: int) -> None:
    tags = {BITS: (8,), PHOTOMETRIC: (1,), COMPRESSION: (compression,)}
    with pytest.raises(UnsupportedFormatError, match="a TIFF of a kind"):
        decode(tiff([GREY], tags), LIMIT)


def test_broken_pixels_of_a_known_compression_are_undecodable() -> None:
    with pytest.raises(UndecodableImageError):
        decode(tiff([GREY], {BITS: (8,), PHOTOMETRIC: (1,), COMPRESSION: (5,)}), LIMIT)


@pytest.mark.parametrize(
    "data",
    [
        b"II+\0\x08\0\0\0" + b"\xff" * 40,
        b"II+\0\x08\0\0\0\x10" + bytes(7) + b"\xff" * 40,
        b"MM\0*\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
    ],
)
def test_broken_directory_is_undecodable(data: bytes) -> None:
    with pytest.raises(UndecodableImageError):
        decode(data, LIMIT)


@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_pieces_are_counted_before_a_tiff_is_opened(
    order: Literal["<", ">"], is_big: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {BITS: (8,), PHOTOMETRIC: (1,)}
    data = tiff([GREY[:1]] * 24, tags | {HEIGHT: (24,), ROWS: (1,)}, order=order, is_big=is_big)
    assert kinds.tiff_pieces(data) == 24
    monkeypatch.setattr("service.inference.opening.MAX_READS", 20)
    with pytest.raises(UndecodableImageError, match="too many pieces"):
        decode(data, LIMIT)
