"""The fifteen corruptions of CIFAR-10-C at five severities (Hendrycks and Dietterich, 2019).

They are made here with the parameters of the paper's code for 32 x 32 pixels, from other random
numbers. One differs: frost is a generated texture, as the paper's photographs of frost are not part
of this project.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from training.measure import robustness
from training.measure.robustness import encoded

SIZE = 32
SEVERITIES = 5
PART = 1_000  # pictures that are changed at a time, which bounds the memory
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_FROST = np.array([0.85, 0.93, 1.0], np.float32)  # bluish white

Floats = npt.NDArray[np.float32]
Images = npt.NDArray[np.uint8]
Random = np.random.Generator
Edge = Literal["mirror", "reflect"]


def corrupted(images: Images, corruption: str, severity: int, seed: int = 0) -> Images:
    """Corrupted copies of pictures.

    Args:
        images: uint8 (N, 32, 32, 3).
        corruption: a name in `CORRUPTIONS`.
        severity: 1 to 5.
        seed: of everything random.
    """
    function, parameters = CORRUPTIONS[corruption]
    chosen: Any = parameters[severity - 1]
    copies = []
    for start in range(0, len(images), PART):
        part = images[start : start + PART]
        if function in (_pixelate, encoded):
            copies.append(function(part, chosen))
            continue
        rng = np.random.default_rng((seed, start))
        result = function(np.divide(part, 255, dtype=np.float32), chosen, rng)
        # Truncated, as by the paper's code.
        copies.append((np.clip(result, 0, 1) * 255).astype(np.uint8))
    return np.concatenate(copies)


def _gaussian_noise(images: Floats, deviation: float, rng: Random) -> Floats:
    return np.asarray(images + deviation * rng.standard_normal(images.shape, np.float32))


def _shot_noise(images: Floats, photons: float, rng: Random) -> Floats:
    return np.asarray(rng.poisson(images * photons) / photons)


def _impulse_noise(images: Floats, share: float, rng: Random) -> Floats:
    hit = rng.random(images.shape, np.float32) < share
    return np.where(hit, rng.integers(2, size=images.shape), images)


def _defocus_blur(images: Floats, lens: tuple[float, float], _: Random) -> Floats:
    radius, alias = lens
    grid = np.arange(-3, 4)
    disk = (grid[:, None] ** 2 + grid**2 <= radius**2).astype(np.float32)
    # The edge of the disk is softened by a kernel of 3 x 3 pixels.
    kernel = ndimage.gaussian_filter(disk / disk.sum(), alias, mode="mirror", radius=1)
    return np.asarray(ndimage.convolve(images, kernel[None, :, :, None], mode="mirror"))


def _glass_blur(images: Floats, glass: tuple[float, int], rng: Random) -> Floats:
    deviation, rounds = glass
    pixels = (robustness.blur(images, deviation) * 255).astype(np.uint8)
    every = np.arange(len(pixels))
    for _ in range(rounds):
        for row in range(SIZE - 1, 1, -1):
            for column in range(SIZE - 1, 1, -1):
                up, left = rng.integers(2, size=(2, len(pixels)))
                # The paper's code means to swap both; NumPy copies the one over the other.
                pixels[:, row, column] = pixels[every, row - up, column - left]
    return robustness.blur(np.divide(pixels, 255, dtype=np.float32), deviation)


def _motion_blur(images: Floats, motion: tuple[int, float], rng: Random) -> Floats:
    blurred = _motion_blurred(images, *motion, rng.uniform(-45, 45, len(images)))
    return blurred + np.float32(0.5 / 255)  # ImageMagick rounds to 8 bits


def _zoom_blur(images: Floats, end: float, _: Random) -> Floats:
    factors = np.arange(1, end, 0.01)  # with the end where rounding has it, as in the paper's code
    zoomed = [_zoom(images, factor) for factor in factors]
    return np.asarray((images + sum(zoomed)) / (len(factors) + 1))


def _snow(images: Floats, flakes: tuple[float, ...], rng: Random) -> Floats:
    mean, deviation, zoom, least, radius, blur, kept = flakes
    layer = rng.normal(mean, deviation, (len(images), SIZE, SIZE, 1)).astype(np.float32)
    layer = _zoom(layer, zoom)
    layer = np.clip(np.where(layer < least, 0, layer), 0, 1)
    layer = _motion_blurred(layer, int(radius), blur, rng.uniform(-135, -45, len(images)))
    grey = (images @ _GREY)[..., None]
    white = kept * images + (1 - kept) * np.maximum(images, grey * 1.5 + 0.5)
    return np.asarray(white + layer + np.rot90(layer, 2, (1, 2)))


def _frost(images: Floats, mix: tuple[float, float], rng: Random) -> Floats:
    kept, added = mix
    texture = _plasma(len(images), 1.75, rng)[..., None] * _FROST
    return np.asarray(kept * images + added * texture)


def _fog(images: Floats, fog: tuple[float, float], rng: Random) -> Floats:
    amount, decay = fog
    brightest = images.max(axis=(1, 2, 3), keepdims=True)
    foggy = images + amount * _plasma(len(images), decay, rng)[..., None]
    return np.asarray(foggy * brightest / (brightest + amount))


def _brightness(images: Floats, added: float, _: Random) -> Floats:
    return robustness.brightness(images, added)


def _contrast(images: Floats, factor: float, _: Random) -> Floats:
    return robustness.contrast(images, factor)


def _elastic(images: Floats, amounts: tuple[float, float, float], rng: Random) -> Floats:
    strength, deviation, shift = (SIZE * amount for amount in amounts)
    count, third = len(images), SIZE // 3
    # An affine map that moves three points.
    points = np.full((3, 2), SIZE // 2) + third * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = points + rng.uniform(-shift, shift, (count, 3, 2))
    corners = np.concatenate([moved, np.ones((count, 3, 1))], axis=2)
    back = np.linalg.solve(corners, np.broadcast_to(points, (count, 3, 2)))  # (N, 3, 2)
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    grid = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    sources = grid.reshape(1, -1, 3) @ back
    x, y = sources.reshape(count, SIZE, SIZE, 2).transpose(3, 0, 1, 2)
    images = _sample(images, y, x, "mirror")
    waves = rng.uniform(-1, 1, (2, count, SIZE, SIZE))
    sigmas = (0, 0, deviation, deviation)
    dx, dy = strength * ndimage.gaussian_filter(waves, sigmas, mode="reflect", truncate=3)
    return _sample(images, rows + dy, columns + dx, "reflect")


def _pixelate(images: Images, share: float) -> Images:
    side = int(SIZE * share)
    box = Image.Resampling.BOX
    small = (Image.fromarray(image).resize((side, side), box) for image in images)
    return np.stack([np.asarray(image.resize((SIZE, SIZE), box)) for image in small])


def _zoom(images: Floats, factor: float) -> Floats:
    """The middle of pictures, enlarged to their size by linear interpolation."""
    side = int(np.ceil(SIZE / factor))
    top = (SIZE - side) // 2
    middle = np.eye(SIZE, dtype=np.float32)[top : top + side]
    large = ndimage.zoom(middle, (factor, 1), order=1)
    trim = (len(large) - SIZE) // 2
    matrix = large[trim : trim + SIZE]  # of the rows, and of the columns
    return np.asarray(np.einsum("ri,nijc,sj->nrsc", matrix, images, matrix, optimize=True))


def _motion_blurred(
    images: Floats, radius: int, deviation: float, degrees: npt.NDArray[np.float64]
) -> Floats:
    """Blurred from each pixel on in one direction, as by ImageMagick; edges are repeated.

    Args:
        images: float32 (N, 32, 32, channels).
        radius: half the length of the path in pixels.
        deviation: of the Gaussian weights along the path.
        degrees: the direction of each picture (N,).
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * deviation**2))
    weights /= weights.sum()
    angles = np.radians(degrees)
    rows, columns = np.arange(SIZE)[:, None], np.arange(SIZE)
    every = np.arange(len(images))[:, None, None]
    result = np.zeros_like(images)
    for step, weight in zip(steps, weights, strict=True):
        down = np.ceil(step * np.sin(angles) - 0.5).astype(int)[:, None, None]
        right = np.ceil(step * np.cos(angles) - 0.5).astype(int)[:, None, None]
        source = np.clip(rows + down, 0, SIZE - 1), np.clip(columns + right, 0, SIZE - 1)
        result += weight * images[every, *source]
    return result


def _sample(
    images: Floats, rows: npt.NDArray[np.float64], columns: npt.NDArray[np.float64], edge: Edge
) -> Floats:
    """Pictures at other places (N, 32, 32), linearly interpolated; see `_inside` for `edge`."""
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    every = np.arange(len(images))[:, None, None]

    def at(row: npt.NDArray[np.int_], column: npt.NDArray[np.int_]) -> Floats:
        return images[every, _inside(row, edge), _inside(column, edge)]

    upper = at(top, left) * (1 - right) + at(top, left + 1) * right
    lower = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right
    return np.asarray(upper * (1 - down) + lower * down, np.float32)


def _inside(index: npt.NDArray[np.int_], edge: Edge) -> npt.NDArray[np.int_]:
    """Indices reflected about the centres of the edge pixels (`mirror`) or their outer edges."""
    last = SIZE - 1
    if edge == "mirror":
        return np.asarray(last - np.abs(last - np.abs(index) % (2 * last)))
    index = index % (2 * SIZE)
    return np.where(index < SIZE, index, 2 * SIZE - 1 - index)


def _plasma(count: int, decay: float, rng: Random) -> Floats:
    """Fractal height maps from 0 to 1, float32 (count, 32, 32), by the diamond-square algorithm."""
    heights = np.zeros((count, SIZE, SIZE))
    step, spread = SIZE, 100.0

    def mean(total: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return total / 4 + spread * rng.uniform(-spread, spread, total.shape)

    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, 1)
        heights[:, half::step, half::step] = mean(pairs + np.roll(pairs, -1, 2))
        centres = heights[:, half::step, half::step]
        beside = corners + np.roll(corners, -1, 2)
        heights[:, ::step, half::step] = mean(centres + np.roll(centres, 1, 1) + beside)
        below = corners + np.roll(corners, -1, 1)
        heights[:, half::step, ::step] = mean(centres + np.roll(centres, 1, 2) + below)
        step, spread = half, spread / decay
    heights -= heights.min(axis=(1, 2), keepdims=True)
    return np.asarray(heights / heights.max(axis=(1, 2), keepdims=True), np.float32)


# The function of each, and its parameters at the five severities.
CORRUPTIONS: dict[str, tuple[Callable[..., npt.NDArray[np.generic]], tuple[object, ...]]] = {
    "gaussian noise": (_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot noise": (_shot_noise, (500, 250, 100, 75, 50)),
    "impulse noise": (_impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "defocus blur": (_defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "glass blur": (_glass_blur, ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))),
    "motion blur": (_motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    "zoom blur": (_zoom_blur, (1.06, 1.11, 1.16, 1.21, 1.26)),
    "snow": (
        _snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    "frost": (_frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
    "fog": (_fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    "brightness": (_brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": (_contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "elastic": (
        _elastic,
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    "pixelate": (_pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg": (encoded, (80, 65, 58, 50, 40)),
}
