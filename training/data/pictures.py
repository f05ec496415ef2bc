"""Decode image files and bring them to the network's size, as the service does with uploads.

The two packages share no code; `tests/contract/test_resizing.py` compares their results.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from training.errors import TrainingError
from training.presets import ResizeRule

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


def to_rgb(image: Image.Image) -> Image.Image:
    """An RGB picture with the EXIF orientation applied and transparency on white."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        # 16 bits a pixel: convert("RGB") would clip everything above 255 to white.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        canvas = Image.new("RGB", image.size, "white")
        canvas.paste(image, mask=image)
        return canvas
    return image.convert("RGB")


def resize(image: Image.Image, size: int, rule: ResizeRule) -> Image.Image:
    """An RGB picture `size` pixels high and wide, by a resize rule."""
    if image.size == (size, size):
        return image
    resample = Image.Resampling[rule.filter.upper()]
    if rule.mode == "stretch":
        return image.resize((size, size), resample)
    if rule.mode == "crop":
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        return image.crop((left, top, left + side, top + side)).resize((size, size), resample)
    scale = size / max(image.size)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    canvas = Image.new("RGB", (size, size))
    canvas.paste(image.resize(inner, resample), ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return canvas


def read(path: Path, size: int, rule: ResizeRule) -> npt.NDArray[np.uint8]:
    """The picture in a file as uint8 (size, size, 3).

    Raises:
        TrainingError: the file cannot be read as a picture.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return np.asarray(resize(to_rgb(image), size, rule))
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        raise TrainingError(f"{path}: not a readable picture ({error})") from None
