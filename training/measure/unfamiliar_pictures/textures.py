"""Textures."""

import math

import numpy as np
from PIL import Image
from scipy.spatial import KDTree

from training.measure.unfamiliar_pictures.canvas import (
    Maker,
    Rng,
    fractal,
    grid,
    paint,
    ramp,
    to_image,
)
from training.measure.unfamiliar_pictures.photographs import shipped, tile


def _waves(rng: Rng, size: int) -> Image.Image:
    waves = [np.sin(ramp(rng, size) * math.tau * rng.uniform(2, 14)) for _ in range(3)]
    return paint(np.sum(waves[: rng.integers(1, 4)], axis=0), rng)


def _plaid(rng: Rng, size: int) -> Image.Image:
    period = int(rng.integers(4, size // 2))
    across, along = (np.resize(rng.random((period, 3)).repeat(2, 0), (size, 3)) for _ in range(2))
    return to_image((across[:, None] + along[None]) / 2)


def _weave(rng: Rng, size: int) -> Image.Image:
    x, y = (np.asarray(axis * rng.uniform(4, 14)) for axis in grid(size))
    over = (np.floor(x) + np.floor(y)) % 2 == 0
    shade = np.where(over, np.sin(np.pi * (x % 1)), np.sin(np.pi * (y % 1)))
    colour = np.where(over[..., None], rng.random(3), rng.random(3))
    return to_image(colour * (0.35 + 0.65 * shade[..., None]))


def _cells(rng: Rng, size: int) -> Image.Image:
    """Voronoi cells in one colour each, or coloured by the distance to centre or border."""
    points = rng.random((int(rng.integers(6, 60)), 2))
    found = KDTree(points).query(np.stack(grid(size), axis=-1), k=2)
    distance, owner = np.asarray(found[0]), np.asarray(found[1])
    style = rng.integers(3)
    if style == 0:
        return to_image(rng.random((len(points), 3))[owner[..., 0]])
    return paint(distance[..., 0] if style == 1 else distance[..., 1] - distance[..., 0], rng)


def _marble(rng: Rng, size: int) -> Image.Image:
    warp = fractal(rng, size, 3) * rng.uniform(0.3, 1.5)
    return paint(np.sin(ramp(rng, size) * math.tau * rng.uniform(1, 5) + warp * 2), rng)


def _wood(rng: Rng, size: int) -> Image.Image:
    x, y = grid(size)
    rings = np.hypot(x - rng.uniform(-1, 2), (y - rng.uniform(-1, 2)) * rng.uniform(0.2, 1))
    rings = rings * rng.uniform(5, 20) + 0.3 * fractal(rng, size, 3)
    return paint(rings % 1, rng)


def _clouds(rng: Rng, size: int) -> Image.Image:
    return paint(fractal(rng, size, rng.uniform(2, 4)), rng)


def _dots(rng: Rng, size: int) -> Image.Image:
    x, y = (np.asarray(axis * rng.uniform(3, 12)) for axis in grid(size))
    radius = rng.uniform(0.15, 0.48)
    return paint(np.clip((np.hypot(x % 1 - 0.5, y % 1 - 0.5) - radius) * 8, 0, 1), rng)


def _julia(rng: Rng, size: int) -> Image.Image:
    x, y = grid(size)
    z = (x - 0.5 + 1j * (y - 0.5)) * rng.uniform(1, 3)
    constant = 0.7885 * np.exp(1j * rng.uniform(0, math.tau))
    steps = np.zeros((size, size))
    for _ in range(30):
        inside = np.abs(z) < 2
        z = np.where(inside, z * z + constant, z)
        steps += inside
    return paint(np.sqrt(steps), rng)


def _surface(rng: Rng, size: int) -> Image.Image:
    """A tile of photographed bricks, grass or gravel, in a tint."""
    name = str(rng.choice(["brick", "grass", "gravel"]))
    grey = np.asarray(tile(rng, shipped(name), size).convert("L")) / 255
    return to_image(grey[..., None] * rng.uniform(0.6, 1.4, 3))


MAKERS: tuple[Maker, ...] = (
    _waves,
    _plaid,
    _weave,
    _cells,
    _marble,
    _wood,
    _clouds,
    _dots,
    _julia,
    _surface,
)
