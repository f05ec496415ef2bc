"""Resizes pictures to the model's size, by the rule that its training used."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel

from service.inference.pictures import scaling
from service.inference.pictures.scaling import Box


class ResizeRule(BaseModel, frozen=True):
    """How a picture is resized to the model's size, as the model's file and card state it."""

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
    return np.asarray(scaling.resize(image, width, height, rule.mode, rule.filter, box))
