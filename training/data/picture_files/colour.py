"""Colours to sRGB by littlecms: from embedded profiles, and from numbers that describe a space."""

import io
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageCms

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
# Chromaticities, x and y, of the white point and of red, green and blue.
_D65 = (0.3127, 0.3290)
_SRGB = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
# Power, slope and offset of a curve, then slope and end of its linear part near black.
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
# By their codes in ITU-T H.273, without those of high dynamic range.
_PRIMARIES = {
    1: _SRGB,
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (*_D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
_CURVES: dict[int, tuple[float, ...]] = {
    **dict.fromkeys((1, 6, 14, 15), (2.4,)),  # video, as it is shown
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: _SRGB_CURVE,
}
# The white that profiles refer to, and how colours are adapted to another white.
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def conversion(profile: bytes, mode: str) -> Callable[[Image.Image], Image.Image] | None:
    """How pictures of a mode (L, LA, RGB, RGBA, CMYK or LAB) with an ICC profile become sRGB.

    The function makes RGB of a picture, or RGBA where the mode has alpha, which stays as it is.
    None says that there is nothing to do: the profile is sRGB, broken, large or for other modes.
    """
    space = profile[16:20]
    if len(profile) > MAX_PROFILE_BYTES or mode not in _MODES.get(space, ()):
        return None
    bands = {b"GRAY": "L", b"CMYK": "CMYK", b"Lab ": "LAB"}.get(space, "RGB")
    transform = _transform(profile, bands)
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
    except Exception:  # what littlecms rejects is no reason to refuse the picture
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


def profile_of_codes(primaries: int, curve: int) -> bytes | None:
    """The profile of a space by its codes in ITU-T H.273; None where they name no such space."""
    if primaries not in _PRIMARIES or curve not in _CURVES:
        return None
    return _profile(_PRIMARIES[primaries], _CURVES[curve])


def profile_of_gamma(gamma: float, chromaticities: Sequence[float] | None) -> bytes | None:
    """The profile of a space by the exponent it was encoded with, and its primaries if not sRGB's.

    None stands for sRGB, and for numbers that make no sense.

    Args:
        gamma: the exponent, for example 1 / 2.2.
        chromaticities: x and y of white, red, green and blue.
    """
    if not 0.05 < gamma < 5:
        return None
    if chromaticities is None and abs(gamma * 2.2 - 1) < 0.05:
        return None  # the exponent by which writers mean sRGB
    return _profile(chromaticities or _SRGB, (1 / gamma,))


def _profile(chromaticities: Sequence[float], curve: Sequence[float]) -> bytes | None:
    """An ICC profile of version 4: primaries that are adapted to D50, and a parametric curve."""
    points = np.reshape(chromaticities, (4, 2))
    if (points[:, 1] <= 0).any():
        return None
    white, *primaries = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in points)
    matrix = np.stack(primaries, 1)
    if abs(np.linalg.det(matrix)) < 1e-6:
        return None
    cones = _BRADFORD @ _D50 / (_BRADFORD @ white)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ matrix
    columns = (adapted * np.linalg.solve(matrix, white)).T
    kind = 0 if len(curve) == 1 else 3
    shape = b"para" + struct.pack(">IHH", 0, kind, 0) + _fixed(*curve)
    tags = {b"wtpt": _xyz(_D50)}
    for name, column in zip(b"rgb", columns, strict=True):
        tags[bytes([name]) + b"XYZ"] = _xyz(column)
        tags[bytes([name]) + b"TRC"] = shape
    offset, table = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags))
    for tag, content in tags.items():
        table += tag + struct.pack(">II", offset, len(content))
        offset += len(content)
    kinds = (b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head = struct.pack(">I4xI4s4s4s12x4s28x", offset, 0x04200000, *kinds) + _fixed(*_D50)
    return head.ljust(128, b"\0") + table + b"".join(tags.values())


def _xyz(values: Iterable[float]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))
