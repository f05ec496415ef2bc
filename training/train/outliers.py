"""Generated pictures without a class, from which a network learns to be unsure."""

import string

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Pictures = npt.NDArray[np.uint8]

TILES = 4  # of a shuffled picture, in each direction
OVERSAMPLING = 3  # drawings are made larger and then shrunk, for smooth lines


def make(images: Pictures, count: int, rng: np.random.Generator) -> Pictures:
    """Outliers of random kinds.

    Args:
        images: training pictures that some kinds are made from, uint8 (N, size, size, 3).
        count: number of outliers.
        rng: source of all randomness.

    Returns:
        uint8 (count, size, size, 3).
    """
    kinds = (shuffled, scrambled, cloud, waves, drawing, noise)
    made = [kinds[rng.integers(len(kinds))](images, rng) for _ in range(count)]
    return np.stack(made) if made else images[:0]


def shuffled(images: Pictures, rng: np.random.Generator) -> Pictures:
    """The tiles of a picture in random order."""
    image = images[rng.integers(len(images))]
    size = image.shape[0] // TILES * TILES
    tiles = image[:size, :size].reshape(TILES, size // TILES, TILES, size // TILES, 3)
    tiles = tiles.transpose(0, 2, 1, 3, 4).reshape(TILES * TILES, size // TILES, -1, 3)
    tiles = tiles[rng.permutation(len(tiles))].reshape(TILES, TILES, size // TILES, -1, 3)
    whole = tiles.transpose(0, 2, 1, 3, 4).reshape(size, size, 3)
    rest = image.shape[0] - size
    return np.pad(whole, ((0, rest), (0, rest), (0, 0)), mode="edge")


def scrambled(images: Pictures, rng: np.random.Generator) -> Pictures:
    """A texture with the spectrum of a picture and random phases."""
    image = images[rng.integers(len(images))].astype(np.float32)
    phase = np.angle(np.fft.fft2(rng.standard_normal(image.shape[:2])))
    spectrum = np.fft.fft2(image, axes=(0, 1)) * np.exp(1j * phase)[..., None]
    spectrum[0, 0] = image.sum(axis=(0, 1))
    return _pixels(np.fft.ifft2(spectrum, axes=(0, 1)).real)


def cloud(images: Pictures, rng: np.random.Generator) -> Pictures:
    """A smooth blend of two colours, up to a nearly flat picture."""
    size = images.shape[1]
    coarse = rng.random((int(rng.integers(1, 9)),) * 2, dtype=np.float32)
    field = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    share = np.asarray(field)[..., None]
    first, second = rng.uniform(0, 255, (2, 3))
    return _pixels(first * share + second * (1 - share))


def waves(images: Pictures, rng: np.random.Generator) -> Pictures:
    """Stripes, checks and other sums of waves in two colours."""
    y, x = np.mgrid[: images.shape[1], : images.shape[1]]
    field = np.zeros(x.shape)
    for _ in range(rng.integers(1, 4)):
        length, angle, phase = rng.uniform(2, 24), rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        field += np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / length + phase)
    if rng.random() < 0.5:
        field = np.sign(field)
    share = (field - field.min())[..., None] / max(np.ptp(field), 1e-6)
    first, second = rng.uniform(0, 255, (2, 3))
    return _pixels(first * share + second * (1 - share))


def drawing(images: Pictures, rng: np.random.Generator) -> Pictures:
    """Strokes, shapes and letters on a flat or smooth background."""
    size = images.shape[1]
    ground = cloud(images, rng) if rng.random() < 0.5 else np.full_like(images[0], 255)
    if rng.random() < 0.3:
        ground = np.broadcast_to(rng.integers(0, 256, 3, np.uint8), ground.shape)
    large = Image.fromarray(ground).resize((size * OVERSAMPLING,) * 2)
    pen = ImageDraw.Draw(large)
    for _ in range(rng.integers(1, 7)):
        points = [tuple(point) for point in rng.uniform(0, size * OVERSAMPLING, (4, 2)).tolist()]
        colour = tuple(rng.integers(0, 256 if rng.random() < 0.5 else 60, 3).tolist())
        kind = rng.integers(4)
        if kind == 0:
            pen.line(points, fill=colour, width=int(rng.integers(1, 8)))
        elif kind == 1:
            pen.polygon(points[:3], fill=colour)
        elif kind == 2:
            xs, ys = zip(*points[:2], strict=True)
            box = (min(xs), min(ys), max(xs), max(ys))
            pen.ellipse(box, outline=colour, width=int(rng.integers(1, 8)))
        else:
            text = "".join(rng.choice(list(string.printable[:94]), rng.integers(1, 4)))
            pen.text(points[0], text, fill=colour, font_size=int(rng.integers(15, 90)), anchor="mm")
    return np.asarray(large.resize((size, size), Image.Resampling.BILINEAR))


def noise(images: Pictures, rng: np.random.Generator) -> Pictures:
    """Random pixels, in colour or grey, sharp or blurred."""
    size = images.shape[1]
    pixels = rng.integers(0, 256, (size, size, 3), np.uint8)
    if rng.random() < 0.5:
        pixels = np.repeat(pixels[..., :1], 3, axis=-1)
    if rng.random() < 0.5:
        blur = ImageFilter.GaussianBlur(rng.uniform(0.3, 2.0))
        pixels = np.asarray(Image.fromarray(pixels).filter(blur))
        spread = max(np.ptp(pixels.astype(int)), 1)
        pixels = _pixels((pixels.astype(np.float32) - pixels.min()) * 255 / spread)
    return pixels


def _pixels(values: npt.NDArray[np.floating]) -> Pictures:
    return values.clip(0, 255).astype(np.uint8)
