"""One picture in many files: writers for what Pillow does not write, and ways to write the rest."""

import functools
import io
import struct
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageCms

from service.inference.pictures import colour

pillow_heif.register_heif_opener()
Samples = NDArray[np.uint16]
Writer = Callable[[Image.Image], bytes]

# Colours of Display P3, the space of most phones.
P3 = next(space for space in [colour.space_of_codes(12, 13)] if isinstance(space, bytes))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
TO_P3 = ImageCms.buildTransform(
    ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(P3)), "RGB", "RGB"
)
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
# First column and row, and their steps, of the seven passes of interlacing.
_PASSES = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)),
    *((1, 0, 2, 2), (0, 1, 1, 2)),
)


def encode(image: Image.Image, format_: str, **options: Any) -> bytes:  # noqa: ANN401
    """The file that Pillow writes."""
    data = io.BytesIO()
    image.save(data, format_, **options)
    return data.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(
    samples: Samples, colour_type: int, depth: int, *, before: bytes = b"", interlaced: bool = False
) -> bytes:
    """A PNG of samples (height, width, channels), in the range of the depth."""
    height, width, _ = samples.shape
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlaced)
    parts = [samples[y::dy, x::dx] for x, y, dx, dy in _PASSES] if interlaced else [samples]
    rows = (_pack(row, depth) for part in parts if part.size for row in part)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = (chunk(b"IHDR", header), before, chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _pack(row: Samples, depth: int) -> bytes:
    if depth == 16:
        return row.astype(">u2").tobytes()
    bits = np.unpackbits(row.astype(np.uint8).reshape(-1, 1), axis=1)[:, 8 - depth :]
    return np.packbits(bits).tobytes()


def packed_in(data: bytes) -> bytes:
    """The packed pixels of a PNG, which are in one chunk."""
    start = data.index(b"IDAT")
    return data[start + 4 : start + 4 + int.from_bytes(data[start - 4 : start], "big")]


def repacked(data: bytes, packed: bytes) -> bytes:
    """A PNG with other packed pixels, and the right checksum of their chunk."""
    start = data.index(b"IDAT") - 4
    end = start + 12 + len(packed_in(data))
    return data[:start] + chunk(b"IDAT", packed) + data[end:]


def with_wrong_checksum(data: bytes) -> bytes:
    """A PNG whose packed pixels end with another checksum than zlib's."""
    packed = packed_in(data)
    return repacked(data, packed[:-4] + bytes(byte ^ 0x55 for byte in packed[-4:]))


def transparent(*samples: int) -> bytes:
    """The chunk that makes one colour transparent."""
    return chunk(b"tRNS", struct.pack(f">{len(samples)}H", *samples))


def animation(frame: bytes, canvas: tuple[int, int], at: tuple[int, int]) -> bytes:
    """An animated PNG whose first frame, of a PNG that is given, is part of a black canvas."""
    width, height, depth, colour_type = struct.unpack_from(">IIBB", frame, 16)
    start = frame.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", frame, start)
    channels = {GREY: 1, RGB: 3, GREY_ALPHA: 2, RGB_ALPHA: 4}[colour_type]
    black = zlib.compress(bytes(canvas[1] * (1 + canvas[0] * channels * depth // 8)))
    header = struct.pack(">II", *canvas) + frame[24:29]
    control = struct.pack(">5IHHBB", 0, width, height, *at, 1, 10, 0, 0)
    chunks = (
        *(chunk(b"IHDR", header), chunk(b"acTL", struct.pack(">II", 1, 0)), frame[33:start]),
        *(chunk(b"IDAT", black), chunk(b"fcTL", control)),
        chunk(b"fdAT", struct.pack(">I", 1) + frame[start + 8 : start + 8 + length]),
        chunk(b"IEND", b""),
    )
    return frame[:8] + b"".join(chunks)


def webp_animation(frame: bytes, canvas: tuple[int, int], at: tuple[int, int]) -> bytes:
    """An animated WebP without a flag of transparency, whose first frame is part of the canvas."""
    width, height = Image.open(io.BytesIO(frame)).size
    start = frame.index(b"VP8", 12)
    flags = struct.pack("<B3x", 0x02) + _u24(canvas[0] - 1, canvas[1] - 1)
    place = _u24(at[0] // 2, at[1] // 2, width - 1, height - 1, 100) + b"\0"
    parts = (
        *(_riff(b"VP8X", flags), _riff(b"ANIM", struct.pack("<IH", 0xFF00FF00, 0))),
        _riff(b"ANMF", place + frame[start:]),
    )
    return _riff(b"RIFF", b"WEBP" + b"".join(parts))


def _u24(*values: int) -> bytes:
    return b"".join(struct.pack("<I", value)[:3] for value in values)


def _riff(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def gif_part(frame: bytes, canvas: tuple[int, int], at: tuple[int, int]) -> bytes:
    """A GIF whose first frame, of a GIF that is given, is part of a larger screen."""
    start = 13 + (3 << (frame[10] & 7) + 1 if frame[10] & 0x80 else 0)
    while frame[start : start + 1] == b"!":
        start += 2
        while frame[start]:
            start += frame[start] + 1
        start += 1
    screen = struct.pack("<HH", *canvas) + frame[10:start]
    return frame[:6] + screen + b"," + struct.pack("<HH", *at) + frame[start + 5 :]


def mpo(jpegs: Iterable[bytes]) -> bytes:
    """A container of several JPEGs, as phones write for portraits."""
    first, *others = (Image.open(io.BytesIO(data)) for data in jpegs)
    return encode(first, "MPO", save_all=True, append_images=others, quality=95, subsampling=0)


@functools.cache
def grey_profile(gamma: float) -> bytes:
    """An ICC profile of grey pictures."""
    white = struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))
    tags = {b"wtpt": b"XYZ \0\0\0\0" + white, b"kTRC": curve}
    offset, table = 132 + 12 * len(tags), struct.pack(">I", len(tags))
    for tag, content in tags.items():
        table += tag + struct.pack(">II", offset, len(content))
        offset += len(content)
    kinds = (b"mntr", b"GRAY", b"XYZ ", b"acsp")
    head = struct.pack(">I4xI4s4s4s12x4s28x", offset, 0x02400000, *kinds) + white
    return head.ljust(128, b"\0") + table + b"".join(tags.values())
