"""Image files to RGB arrays, by the same rules as the service reads uploads.

The two packages share no code, so a test holds their results together byte for byte.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from training.config import ResizeRule
from training.errors import TrainingError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}


def to_rgb(image: Image.Image) -> Image.Image:
    """The upright RGB picture: EXIF orientation applied, alpha laid on white."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        # convert() would clip 16-bit grey to white instead of scaling it.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(canvas, rgba).convert("RGB")
    return image.convert("RGB")


def resize(image: Image.Image, size: int, rule: ResizeRule) -> Image.Image:
    """An RGB picture as the network sees it, `size` pixels high and wide."""
    target = (size, size)
    resample = Image.Resampling[rule.filter.upper()]
    if image.size == target:
        return image
    if rule.mode == "crop":
        return ImageOps.fit(image, target, resample)
    if rule.mode == "pad":
        return ImageOps.pad(image, target, resample, color="black")
    return image.resize(target, resample)


def read(path: Path, size: int, rule: ResizeRule) -> npt.NDArray[np.uint8]:
    """The picture in a file as uint8 (size, size, 3).

    Raises:
        TrainingError: the file is no picture that can be read.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return np.asarray(resize(to_rgb(image), size, rule))
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        raise TrainingError(f"{path}: not a readable picture ({error})") from None
