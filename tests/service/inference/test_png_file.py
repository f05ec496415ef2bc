"""PNGs whose pixels are missing, or whose checksums are wrong."""

import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.errors import UndecodableImageError
from service.inference.decoding import decode
from tests.contract import encodings
from tests.contract.encodings import encode, png
from tests.service.inference.test_png import CHANNELS, KINDS, LIMIT, RANDOM, samples, seen

SIZES = [(1, 1), (2, 1), (5, 1), (1, 2), (4, 4), (9, 7), (70, 3)]


def grounds(kind: int, depth: int) -> list[NDArray[np.uint16]]:
    """Pictures of small sizes: black or clear, white, noise."""
    most = (1 << depth) - 1
    shapes = [(height, width, CHANNELS[kind]) for width, height in SIZES]
    return [
        ground.astype(np.uint16)
        for shape in shapes
        for ground in (np.zeros(shape), np.full(shape, most), RANDOM.integers(0, most + 1, shape))
    ]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("kind", "depth"), KINDS)
def test_png_that_ends_properly_and_lacks_rows_is_refused(
    kind: int, depth: int, interlaced: bool
) -> None:
    for picture in grounds(kind, depth):
        data = png(picture, kind, depth, interlaced=interlaced)
        seen(data)  # a black or clear end is no reason
        height, width, channels = picture.shape
        in_last_row = max(width // 2, 1) if interlaced and height == 1 else width
        size = 1 + (in_last_row * channels * depth + 7) // 8
        for missing in (1, size):
            rows = zlib.decompress(encodings.packed_in(data))[:-missing]
            short = encodings.repacked(data, zlib.compress(rows))
            with pytest.raises(UndecodableImageError, match="cut off"):
                decode(short, LIMIT)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("kind", "depth"), KINDS)
def test_wrong_checksum_of_all_pixels_does_not_matter(
    kind: int, depth: int, interlaced: bool
) -> None:
    for picture in grounds(kind, depth):
        data = png(picture, kind, depth, interlaced=interlaced)
        damaged = encodings.with_wrong_checksum(data)
        np.testing.assert_array_equal(seen(damaged), seen(data))


def test_wrong_checksum_of_a_transparent_picture_of_16_bits_does_not_matter() -> None:
    picture = samples(2, 16)
    key = encodings.transparent(*picture[0, 0].tolist())
    data = png(picture, 2, 16, before=key)
    damaged = encodings.with_wrong_checksum(data)
    np.testing.assert_array_equal(seen(damaged), seen(data))


def test_wrong_checksum_in_several_chunks_does_not_matter() -> None:
    data = encode(Image.effect_noise((80, 60), 90), "PNG")
    damaged = encodings.with_wrong_checksum(data)
    packed = encodings.packed_in(damaged)
    pieces = (packed[at : at + 7] for at in range(0, len(packed), 7))
    split = b"".join(encodings.chunk(b"IDAT", piece) for piece in pieces)
    damaged = damaged[: damaged.index(b"IDAT") - 4] + split + damaged[-12:]
    np.testing.assert_array_equal(seen(damaged), seen(data))


def test_damage_that_both_checksums_show_is_refused() -> None:
    data = bytearray(encode(Image.effect_noise((80, 60), 90), "PNG", compress_level=0))
    data[2000] ^= 1
    with pytest.raises(UndecodableImageError):
        decode(bytes(data), LIMIT)


def test_missing_rows_and_a_wrong_checksum_are_refused() -> None:
    data = encode(Image.new("L", (8, 6)), "PNG")
    for rows in (0, 3, 5):
        short = encodings.repacked(data, zlib.compress(bytes(9 * rows)))
        with pytest.raises(UndecodableImageError):
            decode(encodings.with_wrong_checksum(short), LIMIT)


def test_picture_of_one_pixel_of_any_level_is_read() -> None:
    for level in range(256):
        picture = np.full((1, 1, 1), level, np.uint16)
        assert seen(png(picture, 0, 8)).tolist() == [[[level] * 3]]
