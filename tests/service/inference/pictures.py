"""Pictures and rules that several tests use."""

import numpy as np
from PIL import Image

from service.inference.resizing import ResizeRule


def picture(width: int = 40, height: int = 24) -> Image.Image:
    """A smooth picture that every rotation and flip changes."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1)
    return Image.fromarray(pixels.astype(np.uint8))


def rule(mode: str, filter_: str = "bilinear") -> ResizeRule:
    """A resize rule."""
    return ResizeRule.model_validate({"mode": mode, "filter": filter_})
