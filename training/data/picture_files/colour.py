"""Colours to sRGB by littlecms: from embedded profiles, and from numbers that describe a space."""

import io
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from . import hdr, spaces

# Profiles of printers have up to 3 MB. The cache bounds what they and their tables take in memory.
MAX_PROFILE_BYTES = 4_000_000
_CACHED = 8
# By the colour space that a profile is for: the modes of pictures that it applies to.
_MODES = {
    b"RGB ": ("L", "LA", "RGB", "RGBA"),
    b"GRAY": ("L", "LA"),
    b"CMYK": ("CMYK",),
    b"Lab ": ("LAB",),
}
# A profile that changes no colour by more than this is one of the many of sRGB.
_SAME = 1


class Hdr(NamedTuple):
    """A space of high dynamic range; see `hdr.table`."""

    primaries: int
    curve: int
    peak: int


Space = bytes | Hdr  # an ICC profile, or what none describes


def conversion(space: Space, mode: str) -> Callable[[Image.Image], Image.Image] | None:
    """How pictures of a mode (L, LA, RGB, RGBA, CMYK or LAB) in a colour space become sRGB.

    The function makes RGB of a picture, or RGBA where the mode has alpha, which stays as it is.
    None says that there is nothing to do: the profile is sRGB, broken, large or for other modes.
    """
    if isinstance(space, Hdr):
        table = hdr.table(*space)
        bands = "RGBA" if mode.endswith("A") else "RGB"
        # Pillow would copy a picture that has them already.
        return lambda image: (image if mode == bands else image.convert(bands)).filter(table)
    kind = space[16:20]
    if len(space) > MAX_PROFILE_BYTES or mode not in _MODES.get(kind, ()):
        return None
    bands = {b"GRAY": "L", b"CMYK": "CMYK", b"Lab ": "LAB"}.get(kind, "RGB")
    transform = _transform(space, bands)
    if transform is None:
        return None

    def convert(image: Image.Image) -> Image.Image:
        result = transform.apply(image if image.mode == bands else image.convert(bands))
        if mode.endswith("A"):
            result.putalpha(image.getchannel("A"))
        return result

    return convert


@lru_cache(_CACHED)
def _transform(profile: bytes, bands: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, bands, "RGB")
    except Exception:  # a profile that littlecms rejects does not make the picture invalid
        return None
    if bands == "RGB":
        levels = np.linspace(0, 255, 6).astype(np.uint8)
        colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
        converted = np.asarray(transform.apply(Image.fromarray(colours)))
        if np.abs(converted.astype(np.int16) - colours).max() <= _SAME:
            return None
    return transform


@cache
def lab_profile() -> bytes:
    """The profile of CIELAB pictures, as TIFF has them."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def space_of_codes(primaries: int, curve: int, peak: int = 0) -> Space | None:
    """The space by its codes in ITU-T H.273; None where they name no such space.

    Args:
        primaries: the first code.
        curve: the second code.
        peak: the brightest light of the picture, in candela per square metre; 0 is not known.
    """
    if primaries not in spaces.PRIMARIES:
        return None
    if curve in (spaces.PQ, spaces.HLG):
        return Hdr(primaries, curve, peak)
    if curve not in spaces.CURVES:
        return None
    return _profile(spaces.PRIMARIES[primaries], spaces.CURVES[curve])


def profile_of_gamma(gamma: float, chromaticities: Sequence[float] | None) -> bytes | None:
    """The profile of a space by the exponent it was encoded with, and its primaries if not sRGB's.

    None stands for sRGB, and for numbers that describe no colour space.

    Args:
        gamma: the exponent, for example 1 / 2.2.
        chromaticities: x and y of white, red, green and blue.
    """
    if not 0.05 < gamma < 5:
        return None
    if chromaticities is None and abs(gamma * 2.2 - 1) < 0.05:
        return None  # the exponent by which writers mean sRGB
    try:
        return _profile(chromaticities or spaces.SRGB, (1 / gamma,))
    except ValueError:
        return None


def _profile(chromaticities: Sequence[float], curve: Sequence[float]) -> bytes:
    """An ICC profile of version 4: primaries that are adapted to D50, and a parametric curve."""
    matrix = spaces.to_xyz(chromaticities)
    kind = 0 if len(curve) == 1 else 3
    shape = b"para" + struct.pack(">IHH", 0, kind, 0) + _fixed(*curve)
    tags = {b"wtpt": _xyz(spaces.D50)}
    for name, column in zip(b"rgb", matrix.T, strict=True):
        tags[bytes([name]) + b"XYZ"] = _xyz(column)
        tags[bytes([name]) + b"TRC"] = shape
    offset, table = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags))
    for tag, content in tags.items():
        table += tag + struct.pack(">II", offset, len(content))
        offset += len(content)
    kinds = (b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head = struct.pack(">I4xI4s4s4s12x4s28x", offset, 0x04200000, *kinds) + _fixed(*spaces.D50)
    return head.ljust(128, b"\0") + table + b"".join(tags.values())


def _xyz(values: Iterable[float]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))
