"""Decode image files and bring them to the network's size, as the service does with uploads.

The two packages import nothing of each other; `tests/contract/test_resizing.py` and
`tests/contract/test_pictures.py` compare their results.
"""

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from training.data.picture_files import appearance, colour, jpeg, orientation, png
from training.errors import TrainingError
from training.presets import ResizeRule

try:
    from pi_heif import HeifImageFile
except ImportError:  # the extra `heic` is not installed
    HeifImageFile = None

_PARSERS: tuple[tuple[bytes, Callable[[io.BytesIO], ImageFile]], ...] = (
    (rb"\xff\xd8\xff", JpegImageFile),
    (rb"\x89PNG", PngImageFile),
    (rb"RIFF.{4}WEBP", WebPImageFile),
    (rb"GIF8", GifImageFile),
    (rb"BM", BmpImageFile),
    (rb"II\*\0|MM\0\*", TiffImageFile),
    (rb".{4}ftyp(avi[fs]|.{8}(.{4}){0,60}?avi[fs])", AvifImageFile),
    (rb".{4}ftyp", HeifImageFile),
)


def to_rgb(data: bytes) -> Image.Image:
    """The picture in a file: upright, in sRGB, with transparency on white.

    Raises:
        Exception: anything that the decoders raise on damaged files.
    """
    parser = next((known for start, known in _PARSERS if re.match(start, data, re.DOTALL)), None)
    if parser is None:
        raise ValueError("no known format; HEIC needs the extra `heic`")
    header = png.read(data) if parser is PngImageFile else None
    readable = appearance.with_alpha(data) if parser is WebPImageFile else data
    image: Image.Image = parser(io.BytesIO(header.data if header else readable))
    part = appearance.part(image, header)
    if isinstance(image, JpegImageFile):
        image = jpeg.load(image, data, None)
    else:
        image.load()
    turned = orientation.read(image)
    profile = appearance.profile(image, data, header)
    image = appearance.plain(image, header)
    if part:
        image = appearance.whole(image, part)
    if profile and (convert := colour.conversion(profile, image.mode)):
        image = convert(image)
    return orientation.turn(appearance.on_white(image), turned)


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
        return np.asarray(resize(to_rgb(path.read_bytes()), size, rule))
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        raise TrainingError(f"{path}: not a readable picture ({error})") from None
