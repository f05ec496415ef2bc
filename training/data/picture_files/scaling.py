"""Reduces pictures as the JPEG decoder does, then resizes them to the model's size."""

import math

import numpy as np
from PIL import Image
from PIL.Image import Resampling

Box = tuple[float, float, float, float]

# Pictures are reduced as far as both sides keep at least this many times the model's pixels: for a
# model of 32 pixels that begins at 128 x 128.
OVERSAMPLING = 2
FACTORS = (8, 4, 2)
_PREMULTIPLIED = {"LA": "La", "RGBA": "RGBa"}
# Halves are computed in strips of so many pixels, which bounds the memory for it.
_STRIP = 500_000


def reduce(image: Image.Image, smallest: int) -> tuple[Image.Image, Box]:
    """Averages squares of 2, 4 or 8 pixels, if both sides keep at least `smallest` pixels.

    The decoder of JPEG does the same, so that a picture has the same pixels in every format.

    Returns:
        The picture, and the part of it that is filled: the last column and row may stand for fewer
        pixels.
    """
    width, height = image.size
    factor = next((by for by in FACTORS if min(image.size) // smallest >= by), 1)
    if factor > 1:
        # Colours of LAB have signs, which are lost outside of Pillow.
        is_halved = factor == 2 and image.mode != "LAB"
        image = _halve(image) if is_halved else image.reduce(factor)
    return image, (0, 0, width / factor, height / factor)


def _halve(image: Image.Image) -> Image.Image:
    """What `reduce(2)` returns, which rounds all halves up: by an eighth of a level on average."""
    width, height = image.size
    mode = _PREMULTIPLIED.get(image.mode, image.mode)
    result = Image.new(mode, ((width + 1) // 2, (height + 1) // 2))
    rows = 2 * max(_STRIP // (2 * width), 1)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height))).convert(mode)
        samples = np.asarray(strip)
        edges = [(0, size % 2) for size in samples.shape[:2]] + [(0, 0)] * (samples.ndim - 2)
        pairs = np.pad(samples, edges, mode="edge").astype(np.uint16)
        sums = pairs[::2, ::2] + pairs[1::2, ::2] + pairs[::2, 1::2] + pairs[1::2, 1::2]
        halves = (sums + 1 + (sums >> 2 & 1) >> 2).astype(np.uint8)
        size = halves.shape[1], halves.shape[0]
        result.paste(Image.frombytes(mode, size, halves.tobytes()), (0, top // 2))
    return result.convert(image.mode)


def resize(
    image: Image.Image, width: int, height: int, mode: str, filter_: str, box: Box | None = None
) -> Image.Image:
    """Resizes a picture, or the part of it in `box`, to a size in pixels.

    A picture that already has this size is returned unchanged.

    Args:
        image: an RGB picture.
        width: of the result.
        height: of the result.
        mode: `stretch`, `crop` to the square in the centre, or `pad` with black.
        filter_: the name of Pillow's filter.
        box: left, top, right and bottom, which may lie within a pixel.
    """
    if image.size == (width, height):
        return image
    resample = Resampling[filter_.upper()]
    box = box or (0, 0, *image.size)
    if mode == "crop":
        # Crop first: with resize(box=...) the filter would read pixels outside of the box.
        image, box = _centre_square(image, box)
    if mode == "pad":
        return _pad(image, width, height, resample, box)
    return image.resize((width, height), resample, box)


def middle_square(box: Box, share: float) -> Box:
    """The square in the middle of a box, whose side is a share of the box's shorter side."""
    left, top, right, bottom = box
    side = share * min(right - left, bottom - top)
    left, top = (left + right - side) / 2, (top + bottom - side) / 2
    return left, top, left + side, top + side


def _centre_square(image: Image.Image, box: Box) -> tuple[Image.Image, Box]:
    """Crops to the square in the centre of a box; returns the result, and the square in it."""
    left, top, right, bottom = box
    whole = image.size == (right - left, bottom - top)
    side = min(right - left, bottom - top)
    left, top = (left + right - side) / 2, (top + bottom - side) / 2
    if whole:
        left, top = left // 1, top // 1
    outer = math.floor(left), math.floor(top), math.ceil(left + side), math.ceil(top + side)
    left, top = left - outer[0], top - outer[1]
    return image.crop(outer), (left, top, left + side, top + side)


def _pad(
    image: Image.Image, width: int, height: int, resample: Resampling, box: Box
) -> Image.Image:
    left, top, right, bottom = box
    scale = min(width / (right - left), height / (bottom - top))
    inner = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    canvas = Image.new("RGB", (width, height))
    small = image.resize(inner, resample, box)
    canvas.paste(small, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas
