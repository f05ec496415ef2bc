"""Resizes pictures to the model's size, by the rule that its training used."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel

from service.inference.pictures import scaling
from service.inference.pictures.scaling import Box


class ResizeRule(BaseModel, frozen=True):
    """How a picture is brought to the model's size, as the model's file and card state it."""

    mode: Literal["stretch", "crop", "pad"]
    filter: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


def fit(
    image: Image.Image, width: int, height: int, rule: ResizeRule, box: Box | None = None
) -> NDArray[np.uint8]:
    """Resizes an RGB picture, or the part of it in `box`, to the model's size in pixels.

    Returns:
        uint8 (height, width, 3). A picture that already has this size is returned unchanged.
    """
    return np.asarray(scaling.resize(image, width, height, rule.mode, rule.filter, box))
