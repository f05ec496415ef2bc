"""Converts high dynamic range (PQ and HLG) to sRGB.

Light up to the white of paper is scaled down, by a half if the peak is bright. Light from there to
the peak is compressed by its logarithm. The brightest channel of a pixel decides, so hues do not
change. Browsers show such pictures much like that on a display of ordinary range.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL.ImageFilter import Color3DLUT

from . import spaces

# The white of paper, and the brightest light where the file tells none, in candela per square metre
# (ITU-R BT.2408).
_WHITE, _PEAK = 203, 1000
# Levels of each channel in the table, between which colours are interpolated.
_LEVELS = 65

Floats = NDArray[np.float32]


@lru_cache(4)
def table(primaries: int, curve: int, peak: int) -> Color3DLUT:
    """The filter that makes sRGB of the colours of a space.

    Args:
        primaries: code in ITU-T H.273.
        curve: code in ITU-T H.273.
        peak: the brightest light of a picture in PQ, in candela per square metre; 0 is not known.
    """
    levels = np.linspace(0, 1, _LEVELS, dtype=np.float32)
    light = _of_pq(levels) if curve == spaces.PQ else _of_hlg(levels)
    blue, green, red = np.meshgrid(light, light, light, indexing="ij")
    colours = np.stack([red, green, blue], -1).reshape(-1, 3)
    wide = np.maximum(colours @ _matrix(spaces.PRIMARIES[primaries], spaces.BT2020).T, 0)
    if curve == spaces.HLG:
        peak = _PEAK
        luminance = wide @ np.array([0.2627, 0.6780, 0.0593], np.float32)
        wide *= _PEAK * np.maximum(luminance, 1e-6)[:, None] ** np.float32(0.2)
    wide *= _compression(wide.max(-1, keepdims=True) / _WHITE, peak) / _WHITE
    shown = np.clip(wide @ _matrix(spaces.BT2020, spaces.SRGB).T, 0, 1)
    root = shown ** np.float32(1 / 2.4)
    encoded = np.where(shown <= 0.0031308, shown * 12.92, 1.055 * root - 0.055)
    return Color3DLUT(_LEVELS, encoded.ravel())


def _compression(brightest: Floats, peak: int) -> Floats:
    """The factor for the light of a pixel, by its brightest channel."""
    usual = math.log(_PEAK / _WHITE)
    stops = math.log((peak or _PEAK) / _WHITE)
    if stops <= 0:
        return np.ones_like(brightest)
    white = 1 - 0.5 * min(stops / usual, 1)
    above = np.maximum(brightest, 1)
    compressed = (white + (1 - white) * np.log(above) / stops) / above
    return np.where(brightest > 1, compressed, white).astype(np.float32)


def _matrix(source: tuple[float, ...], target: tuple[float, ...]) -> Floats:
    """From linear colours of one space to those of another."""
    matrix = np.linalg.inv(spaces.to_xyz(target)) @ spaces.to_xyz(source)
    return matrix.astype(np.float32)


def _of_pq(encoded: Floats) -> Floats:
    """Light in candela per square metre (SMPTE ST 2084)."""
    root = encoded.astype(np.float64) ** (32 / 2523)
    light = np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)
    return (10_000 * light ** (8192 / 1305)).astype(np.float32)


def _of_hlg(encoded: Floats) -> Floats:
    """Light of the scene in 0..1 (ARIB STD-B67)."""
    low = encoded**2 / 3
    high = (np.exp((encoded - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.where(encoded <= 0.5, low, high)
