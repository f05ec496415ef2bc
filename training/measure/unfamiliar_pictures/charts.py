"""Charts, maps, screens and codes."""

import numpy as np
from PIL import Image, ImageDraw

from training.measure.unfamiliar_pictures.canvas import Maker, Rng, colour, fractal, sheet


def _bar_chart(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = sheet(rng, size)
    heights = rng.uniform(0.1, 0.85, int(rng.integers(3, 10)))
    step = 0.85 / len(heights)
    fill = colour(rng)
    for bar, height in enumerate(heights):
        left = 0.12 + bar * step
        box = np.array([left, 0.92 - height, left + 0.7 * step, 0.92]) * size
        pen.rectangle(box.tolist(), fill)
    axes = np.array([[0.08, 0.04], [0.08, 0.92], [0.98, 0.92]]) * size
    pen.line([tuple(point) for point in axes], ink, width)
    return image


def _line_chart(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = sheet(rng, size)
    for share in np.linspace(0.1, 0.9, 5) * size:
        pen.line([(0, share), (size, share)], tuple((np.add(ink, 128) // 2).tolist()))
    for _ in range(rng.integers(1, 4)):
        y = rng.normal(0, 1, 30).cumsum()
        y = (y - y.min()) / max(float(np.ptp(y)), 1e-9) * 0.8 + 0.1
        points = np.stack([np.linspace(0.05, 0.95, 30), y], axis=-1) * size
        pen.line([tuple(point) for point in points], colour(rng), width)
    return image


def _pie_chart(rng: Rng, size: int) -> Image.Image:
    image, pen, _, _ = sheet(rng, size)
    ends = np.append(np.sort(rng.uniform(0, 360, int(rng.integers(2, 7)))), 360)
    box = (np.array([0.1, 0.1, 0.9, 0.9]) * size).tolist()
    start = 0.0
    for end in ends:
        pen.pieslice(box, start, float(end), colour(rng))
        start = float(end)
    return image


def _map(rng: Rng, size: int) -> Image.Image:
    """Land and sea with contour lines and a road."""
    height = fractal(rng, size, 5)
    levels = np.floor(height * 3)
    borders = (np.diff(levels, axis=0, prepend=levels[:1]) != 0) | (
        np.diff(levels, axis=1, prepend=levels[:, :1]) != 0
    )
    colours = np.where((height > 0)[..., None], colour(rng, 120), colour(rng, 60))
    colours[borders] = colour(rng, 0, 140)
    image = Image.fromarray(colours.astype(np.uint8))
    road = [tuple(point) for point in rng.uniform(0, size, (4, 2))]
    ImageDraw.Draw(image).line(road, colour(rng), max(1, size // 32))
    return image


def _screen(rng: Rng, size: int) -> Image.Image:
    """The bars and boxes of a window."""
    image = Image.new("RGB", (size, size), colour(rng, 170))
    pen = ImageDraw.Draw(image)
    pen.rectangle([0, 0, size, 0.12 * size], colour(rng))
    pen.rectangle([0, 0.12 * size, rng.uniform(0, 0.35) * size, size], colour(rng))
    for _ in range(rng.integers(2, 7)):
        left, top = rng.uniform([0.05, 0.15], [0.7, 0.8]) * size
        box = (left, top, left + rng.uniform(0.1, 0.6) * size, top + rng.uniform(0.03, 0.3) * size)
        pen.rectangle(box, colour(rng), colour(rng, 0, 120))
    return image


def _code(rng: Rng, size: int) -> Image.Image:
    """Black and white modules, or bars."""
    count = int(rng.integers(11, 30))
    modules = rng.random((count, count)) < 0.5
    if rng.random() < 0.4:
        modules[:] = modules[0]
    code = Image.fromarray(modules).convert("RGB")
    return code.resize((size, size), Image.Resampling.NEAREST)


MAKERS: tuple[Maker, ...] = (_bar_chart, _line_chart, _pie_chart, _map, _screen, _code)
