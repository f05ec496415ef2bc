"""Helpers to draw pictures: colours, fields of numbers, empty sheets."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Rng = np.random.Generator
Field = npt.NDArray[np.float64]
# Draws a picture of a height and width in pixels.
Maker = Callable[[Rng, int], Image.Image]


def colour(rng: Rng, low: int = 0, high: int = 256) -> tuple[int, int, int]:
    """A random colour with channels in `low` to `high - 1`."""
    red, green, blue = rng.integers(low, high, 3).tolist()
    return red, green, blue


def ink_and_paper(rng: Rng) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """A dark and a light colour in random order, more often the dark one first."""
    dark, light = colour(rng, 0, 90), colour(rng, 150, 256)
    return (dark, light) if rng.random() < 0.7 else (light, dark)


def sheet(
    rng: Rng, size: int
) -> tuple[Image.Image, ImageDraw.ImageDraw, tuple[int, int, int], int]:
    """An empty picture, a pen for it, a colour and a line width in pixels."""
    ink, paper = ink_and_paper(rng)
    image = Image.new("RGB", (size, size), paper)
    return image, ImageDraw.Draw(image), ink, max(1, round(size * rng.uniform(0.01, 0.05)))


def to_image(values: Field) -> Image.Image:
    """The picture of values in 0..1, shape (height, width, 3) or (height, width)."""
    return Image.fromarray(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8))


def paint(field: Field, rng: Rng) -> Image.Image:
    """The picture of a field (height, width), coloured along a palette of 2 to 5 colours."""
    field = (field - field.min()) / max(float(np.ptp(field)), 1e-9)
    palette = rng.random((int(rng.integers(2, 6)), 3))
    stops = np.linspace(0, 1, len(palette))
    return to_image(np.stack([np.interp(field, stops, channel) for channel in palette.T], axis=-1))


def grid(size: int) -> tuple[Field, Field]:
    """Coordinates x and y of each pixel, 0 to 1, each (size, size)."""
    y, x = np.mgrid[:size, :size] / size
    return x, y


def ramp(rng: Rng, size: int) -> Field:
    """Distance of each pixel along a random direction in picture widths, (size, size)."""
    x, y = grid(size)
    angle = rng.uniform(0, math.tau)
    return np.asarray(x * math.cos(angle) + y * math.sin(angle))


def fractal(rng: Rng, size: int, exponent: float) -> Field:
    """Periodic noise (size, size) with power 1 / frequency ** exponent and deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * frequency ** (-exponent / 2)
    field = np.fft.irfft2(spectrum, (size, size))
    return np.asarray(field / field.std())
