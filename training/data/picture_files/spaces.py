"""Colour spaces by numbers: chromaticities, and their codes in ITU-T H.273."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Chromaticities, x and y, of the white point and of red, green and blue.
_D65 = (0.3127, 0.3290)
SRGB = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
BT2020 = (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
_SMPTE = (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07)
PRIMARIES = {
    1: SRGB,
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: _SMPTE,
    7: _SMPTE,
    9: BT2020,
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (*_D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
# Power, slope and offset of a curve, then slope and end of its linear part near black.
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
CURVES: dict[int, tuple[float, ...]] = {
    **dict.fromkeys((1, 6, 14, 15), (2.4,)),  # video, as it is shown
    4: (2.2,),
    5: (2.8,),
    7: (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4, 0.0913),
    8: (1.0,),
    13: _SRGB_CURVE,
}
# Those of high dynamic range.
PQ, HLG = 16, 18
# The white that profiles refer to, and how colours are adapted to another white.
D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def to_xyz(chromaticities: Sequence[float]) -> NDArray[np.float64]:
    """The matrix (3, 3) from linear red, green and blue to XYZ, adapted to D50.

    Raises:
        ValueError: the numbers describe no colour space.
    """
    points = np.reshape(chromaticities, (4, 2))
    if (points[:, 1] <= 0).any():
        raise ValueError("colours that no light has")
    white, *primaries = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in points)
    matrix = np.stack(primaries, 1)
    if abs(np.linalg.det(matrix)) < 1e-6:
        raise ValueError("primaries in one line")
    cones = _BRADFORD @ D50 / (_BRADFORD @ white)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ matrix
    scaled: NDArray[np.float64] = adapted * np.linalg.solve(matrix, white)
    return scaled
