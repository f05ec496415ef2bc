"""Line drawings."""

import math

import numpy as np
from PIL import Image
from scipy.ndimage import zoom

from training.measure.unfamiliar_pictures.canvas import Maker, Rng, sheet


def _scribble(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = sheet(rng, size)
    for _ in range(rng.integers(1, 4)):
        walk = rng.normal(0, 0.3, (int(rng.integers(4, 12)), 2)).cumsum(axis=0)
        smooth = zoom(walk, (12, 1), order=3)
        smooth = (smooth - smooth.min(axis=0)) / np.maximum(np.ptp(smooth, axis=0), 1e-9)
        pen.line([tuple(p) for p in (smooth * 0.9 + 0.05) * size], ink, width, "curve")
    return image


def _outlines(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = sheet(rng, size)
    for _ in range(rng.integers(1, 6)):
        centre, radius = rng.uniform(0.2, 0.8, 2) * size, rng.uniform(0.1, 0.45) * size
        sides = int(rng.integers(3, 9))
        if sides == 8:
            pen.circle(tuple(centre), radius, outline=ink, width=width)
        else:
            turn = float(rng.uniform(0, 360))
            pen.regular_polygon((*centre, radius), sides, turn, outline=ink, width=width)
    return image


def _circuit(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = sheet(rng, size)
    step = size / rng.integers(6, 13)
    for _ in range(rng.integers(6, 20)):
        x, y = (rng.integers(0, 13, 2) * step).tolist()
        path = [(x, y)]
        for turn in range(rng.integers(2, 5)):
            length = float(rng.integers(-4, 5)) * step
            x, y = (x + length, y) if turn % 2 else (x, y + length)
            path.append((x, y))
        pen.line(path, ink, width)
        for end in (path[0], path[-1]):
            pen.circle(end, 1.8 * width, fill=ink)
    return image


def _maze(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = sheet(rng, size)
    count = int(rng.integers(5, 14))
    step = size / count
    for row in range(count):
        for column in range(count):
            x, y = column * step, row * step
            down = rng.random() < 0.5
            ends = [(x, y), (x + step, y + step)] if down else [(x, y + step), (x + step, y)]
            pen.line(ends, ink, width)
    return image


def _rosette(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = sheet(rng, size)
    t = np.linspace(0, math.tau, 400)
    a, b = rng.integers(1, 8, 2)
    share = rng.uniform(0, 0.6)
    x = np.cos(a * t) * (1 - share) + np.cos(b * t) * share
    y = np.sin(a * t) * (1 - share) - np.sin(b * t) * share
    points = (np.stack([x, y], axis=-1) * 0.45 + 0.5) * size
    pen.line([tuple(point) for point in points], ink, max(1, width // 2))
    return image


def _twigs(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = sheet(rng, size)
    spread, shrink = rng.uniform(0.2, 0.7), rng.uniform(0.6, 0.8)
    tips = [(size / 2, size * 0.97, -math.pi / 2, size * 0.28)]
    for _ in range(6):
        grown = []
        for x, y, angle, length in tips:
            end = x + math.cos(angle) * length, y + math.sin(angle) * length
            pen.line([(x, y), end], ink, width)
            for side in (-1, 1):
                turn = side * spread + rng.normal(0, 0.1)
                grown.append((*end, angle + turn, length * shrink))
        tips = grown
    return image


MAKERS: tuple[Maker, ...] = (_scribble, _outlines, _circuit, _maze, _rosette, _twigs)
