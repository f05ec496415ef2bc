"""What JPEG at a quality does to pictures, as matrix products: nothing is packed into a file."""

from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

Tensor = Any  # of the backend
Floats = npt.NDArray[np.float32]

BLOCK = 16  # in which brightness has four squares of 8x8 and colour two

# The tables of Annex K of the standard, as all programs use them.
BRIGHTNESS = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
COLOUR = np.full((8, 8), 99)
COLOUR[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]], np.float32)


def encoded(pixels: Tensor, quality: Tensor) -> Tensor:
    """Pictures as they come out of a JPEG file with colour at half the size, as Pillow's are.

    Args:
        pixels: float32 (batch, 3, size, size), whole numbers from 0 to 255.
        quality: whole numbers from 1 to 100, float32 (batch,).

    Returns:
        The same shape, whole numbers.
    """
    size = pixels.shape[-1]
    whole = -(-size // BLOCK) * BLOCK
    edge = np.eye(size, dtype=np.float32)[np.minimum(np.arange(whole), size - 1)]
    padded = _both(edge, pixels)
    ycc = ops.round(_channels(TO_YCC, padded))
    half = np.repeat(np.eye(whole // 2), 2, axis=1).astype(np.float32) / np.float32(2)
    scale = ops.where(quality < 50, ops.floor(5000 / quality), 200 - 2 * quality)
    bright = _quantised(ycc[:, :1] - 128, _table(BRIGHTNESS, whole, scale))
    chroma = _quantised(ops.round(_both(half, ycc[:, 1:])), _table(COLOUR, whole // 2, scale))
    # A reader clips both to bytes before it enlarges the colour.
    chroma = ops.clip(chroma, -128.0, 127.0)
    chroma = ops.round(_both(_enlarging(whole // 2), chroma))
    bright = ops.clip(bright + 128, 0.0, 255.0)
    rgb = _channels(TO_RGB, ops.concatenate([bright, chroma], axis=1))
    return ops.clip(ops.round(rgb), 0.0, 255.0)[:, :, :size, :size]


def _both(matrix: Floats, planes: Tensor) -> Tensor:
    """The same matrix (new, old) on rows and columns."""
    constant = ops.convert_to_tensor(matrix)
    return ops.matmul(ops.matmul(constant, planes), ops.transpose(constant))


def _channels(matrix: Floats, pixels: Tensor) -> Tensor:
    return ops.einsum("dc,bchw->bdhw", ops.convert_to_tensor(matrix), pixels)


def _table(base: npt.ArrayLike, size: int, scale: Tensor) -> Tensor:
    """The steps (batch, 1, size, size) of all squares of a plane."""
    tiles = np.tile(np.asarray(base, np.float32), (size // 8, size // 8))
    steps = ops.floor((ops.convert_to_tensor(tiles) * scale[:, None, None, None] + 50) / 100)
    return ops.clip(steps, 1.0, 255.0)


def _quantised(planes: Tensor, steps: Tensor) -> Tensor:
    """Planes (batch, n, size, size) around 0 through the cosine transform of their squares."""
    frequency, place = np.mgrid[:8, :8]
    cosines = np.cos((2 * place + 1) * frequency * np.pi / 16) / 2
    cosines[0] /= np.sqrt(2)
    forward = np.kron(np.eye(planes.shape[-1] // 8), cosines).astype(np.float32)
    kept = ops.round(_both(forward, planes) / steps) * steps
    return ops.round(_both(forward.T, kept))


def _enlarging(size: int) -> Floats:
    """The matrix (2 size, size) with which readers smooth colour: three quarters and a quarter."""
    places = np.arange(2 * size)
    near = places // 2
    far = np.clip(near + 2 * (places % 2) - 1, 0, size - 1)
    eye = np.eye(size, dtype=np.float32)
    enlarged: Floats = 0.75 * eye[near] + 0.25 * eye[far]
    return enlarged
