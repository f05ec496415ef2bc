"""Noise of several kinds."""

import numpy as np
from PIL import Image

from training.measure.unfamiliar_pictures.canvas import Maker, Rng, colour, fractal, to_image


def _pixels(rng: Rng, size: int) -> Image.Image:
    return to_image(rng.random((size, size, 3)))


def _grain(rng: Rng, size: int) -> Image.Image:
    noise = rng.standard_normal((size, size, int(rng.choice([1, 3]))))
    return to_image(rng.random(3) + rng.uniform(0.05, 0.4) * noise)


def _salt_and_pepper(rng: Rng, size: int) -> Image.Image:
    image = np.full((size, size, 3), colour(rng), np.uint8)
    chance = rng.random((size, size))
    share = rng.uniform(0.02, 0.3)
    image[chance < share] = 0
    image[chance > 1 - share] = 255
    return Image.fromarray(image)


def _blocks(rng: Rng, size: int) -> Image.Image:
    cells = rng.random((*rng.integers(3, 17, 2), 3))
    return to_image(cells).resize((size, size), Image.Resampling.NEAREST)


def _blobs(rng: Rng, size: int) -> Image.Image:
    cells = rng.random((*rng.integers(3, 13, 2), 3))
    return to_image(cells).resize((size, size), Image.Resampling.BICUBIC)


def _coloured_noise(rng: Rng, size: int) -> Image.Image:
    exponent = rng.uniform(0.5, 2)
    channels = [fractal(rng, size, exponent) for _ in range(3)]
    return to_image(0.5 + 0.2 * np.stack(channels, axis=-1))


def _scan_lines(rng: Rng, size: int) -> Image.Image:
    lines = np.repeat(rng.random((size, 1, 3)), size, axis=1)
    return to_image(lines if rng.random() < 0.5 else lines.swapaxes(0, 1))


MAKERS: tuple[Maker, ...] = (
    _pixels,
    _grain,
    _salt_and_pepper,
    _blocks,
    _blobs,
    _coloured_noise,
    _scan_lines,
)
