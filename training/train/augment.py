"""Random changes to training pictures, in NumPy and Pillow: they work on any Keras backend."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from training.presets import Augmentation

ZOOM = (0.6, 1.25)  # side of the content, relative to the side of the picture
SQUEEZE = (0.8, 1.25)  # width relative to height
TINT = 0.3  # largest relative change of brightness and saturation
CONTRAST = (0.3, 2.0)  # factor
BLUR = (0.3, 1.0)  # standard deviation in pixels
NOISE = (2.0, 20.0)  # standard deviation in grey levels
QUALITY = (30, 95)  # of JPEG

Pictures = npt.NDArray[np.uint8]


def change(images: Pictures, how: Augmentation, rng: np.random.Generator) -> Pictures:
    """Copies of pictures (batch, height, width, 3) with all random changes but mirroring."""
    images = images.copy()
    if how.shift:
        images = shift(images, rng, how.shift)
    for share, one in ((how.zoom, zoom), (how.tint, tint), (how.degrade, degrade)):
        chosen = np.flatnonzero(rng.random(len(images)) < share)
        if len(chosen):
            images[chosen] = one(images[chosen], rng)
    if how.cutout:
        images = cutout(images, rng, how.cutout)
    return images


def mirror(images: Pictures, chosen: npt.NDArray[np.bool_]) -> Pictures:
    """Mirror the pictures (batch, height, width, 3) that `chosen` (batch,) marks."""
    mirrored = images.copy()
    mirrored[chosen] = images[chosen, :, ::-1]
    return mirrored


def shift(images: Pictures, rng: np.random.Generator, pixels: int) -> Pictures:
    """Translate each picture by up to `pixels` in both directions; edges are reflected."""
    batch, height, width, _ = images.shape
    pad = (pixels, pixels)
    padded = np.pad(images, ((0, 0), pad, pad, (0, 0)), mode="reflect")
    moved = np.empty_like(images)
    tops, lefts = rng.integers(0, 2 * pixels + 1, (2, batch)).tolist()
    # A copy of each picture's rows takes a tenth of the time of a gather of all pixels.
    for number, (top, left) in enumerate(zip(tops, lefts, strict=True)):
        moved[number] = padded[number, top : top + height, left : left + width]
    return moved


def cutout(images: Pictures, rng: np.random.Generator, side: int) -> Pictures:
    """Cover a square of each picture with medium grey; a part of it may lie outside."""
    batch, height, width, _ = images.shape
    tops = rng.integers(-side + 1, height, (batch,)).tolist()
    lefts = rng.integers(-side + 1, width, (batch,)).tolist()
    covered = images.copy()
    for number, (top, left) in enumerate(zip(tops, lefts, strict=True)):
        covered[number, max(0, top) : top + side, max(0, left) : left + side] = 128
    return covered


def shrink(images: Pictures, size: int) -> Pictures:
    """Pictures (batch, height, width, 3) at a smaller height and width."""
    if images.shape[1:3] == (size, size):
        return images
    small = (
        Image.fromarray(image).resize((size,) * 2, Image.Resampling.BILINEAR) for image in images
    )
    return np.stack([np.asarray(image) for image in small])


def zoom(images: Pictures, rng: np.random.Generator) -> Pictures:
    """Shrink, enlarge or squeeze each picture; free space is filled with reflections."""
    return np.stack([_zoomed(image, rng) for image in images])


def _zoomed(image: Pictures, rng: np.random.Generator) -> Pictures:
    factor = np.exp(rng.uniform(*np.log(ZOOM)))
    squeeze = np.exp(rng.uniform(*np.log(SQUEEZE)) / 2)
    height, width = image.shape[:2]
    tall, wide = round(height * factor * squeeze), round(width * factor / squeeze)
    content = Image.fromarray(image).resize((wide, tall), Image.Resampling.BILINEAR)
    rows, columns = _window(tall, height, rng), _window(wide, width, rng)
    return np.asarray(content).take(rows, axis=0).take(columns, axis=1)


def _window(have: int, want: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """`want` consecutive indices from a random start in `have`, reflected at both ends."""
    start = int(rng.integers(min(0, have - want), max(0, have - want) + 1))
    indices = np.abs(np.arange(start, start + want))
    reflected: npt.NDArray[np.int64] = have - 1 - np.abs(have - 1 - indices)
    return reflected


def tint(images: Pictures, rng: np.random.Generator) -> Pictures:
    """Change brightness, contrast and saturation of each picture."""
    each = (len(images), 1, 1, 1)
    brightness, saturation = rng.uniform(1 - TINT, 1 + TINT, (2, *each)).astype(np.float32)
    low, high = np.log(CONTRAST)
    contrast = np.exp(rng.uniform(low, high, each)).astype(np.float32)
    pixels = images * brightness
    grey = pixels.mean(axis=-1, keepdims=True)
    pixels = grey + (pixels - grey) * saturation
    middle = pixels.mean(axis=(1, 2, 3), keepdims=True)
    pixels = middle + (pixels - middle) * contrast
    tinted: Pictures = pixels.clip(0, 255).astype(np.uint8)
    return tinted


def degrade(images: Pictures, rng: np.random.Generator) -> Pictures:
    """Blur each picture, add noise to it, or encode it as JPEG again."""
    return np.stack([_degraded(image, rng) for image in images])


def _degraded(image: Pictures, rng: np.random.Generator) -> Pictures:
    kind = rng.integers(3)
    if kind == 0:
        blur = ImageFilter.GaussianBlur(rng.uniform(*BLUR))
        return np.asarray(Image.fromarray(image).filter(blur))
    if kind == 1:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(*NOISE))
        return (image + noise).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(rng.integers(*QUALITY)))
    return np.asarray(Image.open(file))
