"""What Pillow leaves out of a PNG: exact transparency, colour spaces, the first animation frame."""

import io
import struct
import zlib
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from PIL import Image

from . import colour
from .colour import Space
from .png_file import PngFile, chunk, chunks_of, load

_GREY, _RGB, _PALETTE, _GREY_WITH_ALPHA = 0, 2, 3, 4
_MOST_COLOURS = 256
# By the standard; browsers take a file that tells more, or none, for a still picture.
_MOST_FRAMES = 0x7FFF_FFFF
# What Pillow is to read, beside the critical chunks, of those before the pixels. It would refuse a
# picture for the others: a broken checksum, a large text, a broken profile.
_NEEDED = (b"tRNS", b"eXIf", b"acTL", b"fcTL")
_ANCILLARY = 0x20
# The end of codes of RGB in full range, and what sRGB may say; others are void, as in browsers.
_FULL_RANGE = b"\0\1"
_DEFLATE = b"\0"
_INTENTS = (b"\0", b"\1", b"\2", b"\3")
# The chunks that the first frame of an animation shares with the whole.
_SHARED = (b"PLTE", b"tRNS", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"cLLI", b"eXIf")


class Part(NamedTuple):
    """A part of a canvas: the canvas' size, and left, top, right and bottom edge of the part."""

    canvas: tuple[int, int]
    box: tuple[int, int, int, int]


class Png(NamedTuple):
    """A PNG as Pillow is to read it, and what Pillow does not see.

    Attributes:
        data: the file without chunks that are not needed; of an animation that of its first frame.
        space: of the colours; None is sRGB.
        is_grey: whether it stores no colours.
        depth: bits of a sample.
        transparent: the samples of the colour that is transparent, in full depth, if there is one.
        part: what part of an animation its first frame is; None if it is all of it.
    """

    data: bytes
    space: Space | None = None
    is_grey: bool = False
    depth: int = 8
    transparent: tuple[int, ...] | None = None
    part: Part | None = None


def read(data: bytes) -> Png:
    """Reads the chunks before the pixels; a file that is broken there is left as it is."""
    chunks: dict[bytes, bytes] = {}
    needed, is_whole, part = [data[:8]], True, None
    try:
        for kind, start, end in chunks_of(data):
            if kind == b"IDAT":
                break
            content = data[start + 8 : end - 4]
            is_void = _is_void(kind, content, chunks)
            if not is_void:
                chunks.setdefault(kind, content)
            completed = _completed(kind, content, chunks)
            is_longer = completed != content and chunk(kind, content) == data[start:end]
            if is_longer and not is_void:
                needed.append(chunk(kind, completed))
                is_whole = False
            elif not is_void and (kind in _NEEDED or not kind[0] & _ANCILLARY):
                needed.append(data[start:end])
            else:
                is_whole = False
        needed.append(data[start:])
        for_pillow = data if is_whole else b"".join(needed)
        depth, kind_of_colour = chunks[b"IHDR"][8:10]
        if b"acTL" in chunks and b"fcTL" not in chunks:
            for_pillow, part = _first_frame(data, chunks)
        return Png(
            for_pillow,
            _space(chunks),
            kind_of_colour in (_GREY, _GREY_WITH_ALPHA),
            depth,
            _transparent(chunks, depth, kind_of_colour),
            part,
        )
    except (IndexError, KeyError, ValueError, struct.error):
        return Png(data)


def count_texts(data: bytes) -> int:
    """How many texts there are that may be compressed, at most, wherever they are in the file."""
    return data.count(b"zTXt") + data.count(b"iTXt")


def _is_void(kind: bytes, content: bytes, chunks: dict[bytes, bytes]) -> bool:
    """Whether it is a number of frames or transparency that browsers do without.

    That does not fit the colours, or comes twice.
    """
    if kind == b"acTL":
        return not 0 < int.from_bytes(content[:4], "big") <= _MOST_FRAMES
    if kind != b"tRNS":
        return False
    kind_of_colour = chunks[b"IHDR"][9]
    if b"tRNS" in chunks:
        return True
    if kind_of_colour == _PALETTE:
        return b"PLTE" not in chunks or len(content) > _MOST_COLOURS
    return len(content) < {_GREY: 2, _RGB: 6}.get(kind_of_colour, 0)


def _completed(kind: bytes, content: bytes, chunks: dict[bytes, bytes]) -> bytes:
    """A palette, or its alpha, with the last colour for all numbers beyond it, as in browsers."""
    size = {b"PLTE": 3, b"tRNS": 1}.get(kind)
    if size is None or chunks[b"IHDR"][9] != _PALETTE:
        return content
    depth = chunks[b"IHDR"][8]
    colours = len(chunks.get(b"PLTE", b"")) // 3
    missing = (1 << depth) - colours
    return content + content[-size:] * missing if len(content) == size * colours else content


def _transparent(
    chunks: dict[bytes, bytes], depth: int, kind_of_colour: int
) -> tuple[int, ...] | None:
    if b"tRNS" not in chunks or kind_of_colour not in (_GREY, _RGB):
        return None
    samples = struct.unpack_from(">H" if kind_of_colour == _GREY else ">3H", chunks[b"tRNS"])
    return tuple(sample & (1 << depth) - 1 for sample in samples)


def _space(chunks: dict[bytes, bytes]) -> Space | None:
    """The space by the first chunk that names one, in the order of the standard."""
    codes = chunks.get(b"cICP", b"")
    if len(codes) == 4 and codes[2:] == _FULL_RANGE:
        light = int.from_bytes(chunks.get(b"cLLI", b"")[:4], "big")
        if space := colour.space_of_codes(codes[0], codes[1], light // 10_000):
            return space
    if profile := _profile(chunks.get(b"iCCP", b"")):
        return profile
    if chunks.get(b"sRGB", b"none") in _INTENTS or len(chunks.get(b"gAMA", b"")) != 4:
        return None
    (gamma,) = struct.unpack(">I", chunks[b"gAMA"])
    given = chunks.get(b"cHRM", b"")
    numbers = struct.unpack(">8I", given) if len(given) == 32 else None
    return colour.profile_of_gamma(gamma / 1e5, numbers and [number / 1e5 for number in numbers])


def _profile(content: bytes) -> bytes | None:
    """The ICC profile in a chunk; None if it is broken."""
    _name, _, packed = content.partition(b"\0")
    with suppress(zlib.error):
        profile = zlib.decompressobj().decompress(packed[1:], colour.MAX_PROFILE_BYTES)
        is_whole = profile[:4] == struct.pack(">I", len(profile)) and profile[36:40] == b"acsp"
        return profile if is_whole and packed[:1] == _DEFLATE else None
    return None


def _first_frame(data: bytes, shared: dict[bytes, bytes]) -> tuple[bytes, Part]:
    """A PNG of the first frame of an animation whose own picture (IDAT) is no frame of it.

    Returns:
        The PNG, and which part of the animation it is.

    Raises:
        ValueError: the animation has no frame, or one that lies beyond its canvas.
    """
    control, packed = None, []
    for kind, start, end in chunks_of(data):
        content = data[start + 8 : end - 4]
        if kind == b"fdAT":
            packed.append(content[4:])
        elif kind == b"fcTL" and control is None:
            control = content
        elif packed or kind == b"IEND":
            break
    if control is None or not packed:
        raise ValueError("no frame")
    width, height = struct.unpack_from(">II", shared[b"IHDR"])
    frame_width, frame_height, left, top = struct.unpack_from(">4I", control, 4)
    if left + frame_width > width or top + frame_height > height:
        raise ValueError("beyond the canvas")
    part = Part((width, height), (left, top, left + frame_width, top + frame_height))
    header = control[4:12] + shared[b"IHDR"][8:]
    parts = [(b"IHDR", header), *((kind, shared[kind]) for kind in _SHARED if kind in shared)]
    parts += [(b"IDAT", b"".join(packed)), (b"IEND", b"")]
    return data[:8] + b"".join(chunk(*part) for part in parts), part


def with_transparency(image: Image.Image, png: Png) -> Image.Image:
    """The loaded picture, 8 bits a sample, with its transparency: L, LA, RGB, RGBA or P."""
    if png.depth == 16 and image.mode.startswith("I"):
        samples = np.asarray(image)
        image = Image.fromarray((samples >> 8).astype(np.uint8))
        if png.transparent is not None:
            image.putalpha(_alpha(samples == png.transparent[0]))
    elif png.depth == 16 and png.transparent is not None:
        image.info.pop("transparency", None)
        # Pillow keeps the high bytes alone; read as little-endian samples, it keeps the low ones.
        low = PngFile(io.BytesIO(png.data))
        low.tile = [tile._replace(args="RGB;16L") for tile in low.tile]
        low = load(low, png.data)
        high_of, low_of = np.divmod(png.transparent, 256)
        is_it = (np.asarray(image) == high_of) & (np.asarray(low) == low_of)
        image.putalpha(_alpha(is_it.all(-1)))
    elif png.transparent is not None:
        samples_8 = [sample * 255 // ((1 << png.depth) - 1) for sample in png.transparent]
        image.info["transparency"] = samples_8[0] if png.is_grey else tuple(samples_8)
    return image


def _alpha(is_transparent: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Image.Image:
    return Image.fromarray(np.where(is_transparent, 0, 255).astype(np.uint8))
