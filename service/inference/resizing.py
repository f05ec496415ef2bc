"""Resizes pictures to the model's size, by the rule that its training used."""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling
from pydantic import BaseModel

# Left, top, right and bottom of a part of an image in pixels; edges may lie within a pixel.
Box = tuple[float, float, float, float]


class ResizeRule(BaseModel, frozen=True):
    """How a picture is brought to the model's size, as the model's file and card state it."""

    mode: Literal["stretch", "crop", "pad"]
    filter: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


def fit(
    image: Image.Image | NDArray[np.uint8],
    width: int,
    height: int,
    rule: ResizeRule,
    box: Box | None = None,
) -> NDArray[np.uint8]:
    """Resizes an RGB picture, or the part of it in `box`, to the model's size in pixels.

    Args:
        image: the picture, as Pillow has it or as uint8 (height, width, 3).
        width: the model's.
        height: the model's.
        rule: how it is resized.
        box: the part of it; None is all of it.

    Returns:
        uint8 (height, width, 3). A picture that already has this size is returned unchanged.
    """
    if isinstance(image, np.ndarray):
        if image.shape[:2] == (height, width):
            return image
        image = Image.fromarray(image)
    if image.size != (width, height):
        resample = Resampling[rule.filter.upper()]
        box = box or (0, 0, *image.size)
        if rule.mode == "crop":
            # Crop first: with resize(box=...) the filter would read pixels outside of the box.
            image, box = _centre_square(image, box)
        if rule.mode == "pad":
            image = _pad(image, width, height, resample, box)
        else:
            image = image.resize((width, height), resample, box)
    return np.asarray(image)


def _centre_square(image: Image.Image, box: Box) -> tuple[Image.Image, Box]:
    """Crops to the square in the centre of a box; returns the result, and the square in it."""
    left, top, right, bottom = box
    whole = image.size == (right - left, bottom - top)
    side = min(right - left, bottom - top)
    left, top = (left + right - side) / 2, (top + bottom - side) / 2
    if whole:
        left, top = left // 1, top // 1  # as in training
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
