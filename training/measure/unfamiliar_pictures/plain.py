"""Flat pictures and gradients."""

import numpy as np
from PIL import Image
from scipy.ndimage import zoom

from training.measure.unfamiliar_pictures.canvas import (
    Maker,
    Rng,
    colour,
    grid,
    paint,
    ramp,
    to_image,
)


def _flat(rng: Rng, size: int) -> Image.Image:
    return Image.new("RGB", (size, size), colour(rng))


def _slope(rng: Rng, size: int) -> Image.Image:
    return paint(ramp(rng, size), rng)


def _glow(rng: Rng, size: int) -> Image.Image:
    x, y = grid(size)
    centre = rng.uniform(-0.2, 1.2, 2)
    return paint(np.hypot(x - centre[0], y - centre[1]) ** rng.uniform(0.5, 2), rng)


def _corners(rng: Rng, size: int) -> Image.Image:
    return to_image(np.clip(zoom(rng.random((2, 2, 3)), (size / 2, size / 2, 1), order=1), 0, 1))


def _bands(rng: Rng, size: int) -> Image.Image:
    bands = rng.random((int(rng.integers(2, 6)), 1, 3))
    flag = to_image(bands).resize((size, size), Image.Resampling.NEAREST)
    return flag.rotate(90 * int(rng.integers(2)))


MAKERS: tuple[Maker, ...] = (_flat, _slope, _glow, _corners, _bands)
