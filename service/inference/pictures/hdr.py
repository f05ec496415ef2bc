"""High dynamic range (PQ and HLG) to sRGB: light above the white of paper is compressed.

Light up to that white is halved; from there it is compressed, by its logarithm, up to the peak. The
brightest of a pixel's channels decides, so that hues stay. Browsers show such pictures much like
that on a display of ordinary range.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL.ImageFilter import Color3DLUT

from . import spaces

# The white of paper, and the brightest light, in candela per square metre (ITU-R BT.2408).
_WHITE, _PEAK = 203, 1000
# Levels of each channel in the table, between which colours are interpolated.
_LEVELS = 33

Array = NDArray[np.float64]


@lru_cache(4)
def table(primaries: int, curve: int) -> Color3DLUT:
    """The filter that makes sRGB of the colours of a space, by its codes in ITU-T H.273."""
    levels = np.linspace(0, 1, _LEVELS)
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")
    colours = np.stack([red, green, blue], -1).reshape(-1, 3)
    to_2020 = _matrix(spaces.PRIMARIES[primaries], spaces.BT2020)
    linear = _of_pq(colours) if curve == spaces.PQ else _of_hlg(colours)
    wide = np.maximum(linear @ to_2020.T, 0)
    if curve == spaces.HLG:
        luminance = wide @ (0.2627, 0.6780, 0.0593)
        wide *= _PEAK * np.maximum(luminance, 1e-6)[:, None] ** 0.2
    wide /= _WHITE
    brightest = np.maximum(wide.max(-1, keepdims=True), 1e-6)
    compressed = 0.5 + 0.5 * np.log(np.maximum(brightest, 1)) / np.log(_PEAK / _WHITE)
    wide *= np.where(brightest > 1, compressed, brightest / 2) / brightest
    shown = np.clip(wide @ _matrix(spaces.BT2020, spaces.SRGB).T, 0, 1)
    encoded = np.where(shown <= 0.0031308, shown * 12.92, 1.055 * shown ** (1 / 2.4) - 0.055)
    return Color3DLUT(_LEVELS, encoded.astype(np.float32).ravel().tolist())


def _matrix(source: tuple[float, ...], target: tuple[float, ...]) -> Array:
    """From linear colours of one space to those of another."""
    matrix: Array = np.linalg.inv(spaces.to_xyz(target)) @ spaces.to_xyz(source)
    return matrix


def _of_pq(encoded: Array) -> Array:
    """Light in candela per square metre (SMPTE ST 2084)."""
    root = encoded ** (32 / 2523)
    return 10_000 * (np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)) ** (
        8192 / 1305
    )


def _of_hlg(encoded: Array) -> Array:
    """Light of the scene in 0..1 (ARIB STD-B67)."""
    low = encoded**2 / 3
    high = (np.exp((encoded - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.where(encoded <= 0.5, low, high)
