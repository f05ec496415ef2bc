"""Decode image files and bring them to the network's size, as the service does with uploads.

The two packages import nothing of each other; `tests/contract/test_resizing.py` and
`tests/contract/test_pictures.py` compare their results.
"""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from training.data.picture_files import (
    appearance,
    bmp,
    colour,
    jpeg,
    orientation,
    png,
    png_file,
    scaling,
)
from training.data.picture_files.png_file import PngFile
from training.data.picture_files.tiff import Tiff
from training.errors import TrainingError
from training.presets import ResizeRule

try:
    from pi_heif import HeifImageFile
except ImportError:  # the extra `heic` is not installed
    HeifImageFile = None

_PARSERS: tuple[tuple[bytes, Callable[[io.BytesIO], ImageFile]], ...] = (
    (rb"\xff\xd8\xff", JpegImageFile),
    (rb"\x89PNG", PngFile),
    (rb"RIFF.{4}WEBP", WebPImageFile),
    (rb"GIF8", GifImageFile),
    (rb"BM", BmpImageFile),
    (rb"II[*+]\0|MM\0[*+]", Tiff),
    (rb".{4}ftyp(avi[fs]|.{8}(.{4}){0,60}?avi[fs])", AvifImageFile),
    (rb".{4}ftyp", HeifImageFile),
)
# As many as the service takes by default at most. A damaged header may tell so large a size that no
# memory holds it, and Pillow would try.
_MAX_PIXELS = 200_000_000
_READABLE: dict[object, Callable[[bytes], bytes]] = {
    WebPImageFile: appearance.with_alpha,
    BmpImageFile: bmp.readable,
}


class Picture(NamedTuple):
    """A decoded picture.

    Attributes:
        image: in its full size or a smaller one.
        box: the part of the image that the picture fills.
        shorter: its shorter side in full size, in pixels.
    """

    image: Image.Image
    box: scaling.Box
    shorter: int


def decode(data: bytes, smallest: int | None = None) -> Picture:
    """The picture in a file: upright, in sRGB, with transparency on white.

    Args:
        data: the file.
        smallest: the shortest side, in pixels, to which it may be reduced; None keeps its size.

    Raises:
        Exception: anything that the decoders raise on damaged files.
    """
    parser = next((known for start, known in _PARSERS if re.match(start, data, re.DOTALL)), None)
    if parser is None:
        raise ValueError("no known format; HEIC needs the extra `heic`")
    header = png.read(data) if parser is PngFile else None
    readable = header.data if header else data
    if parser in _READABLE:
        readable = _READABLE[parser](data)
    file = parser(io.BytesIO(readable))
    part = appearance.part(file, header)
    stored = file.size
    width, height = part.canvas if part else stored
    if width * height > _MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels, more than {_MAX_PIXELS:,}")
    reduced = file.draft(None, (smallest, smallest)) if smallest else None  # of a JPEG alone
    image = _load(file, header.data if header else data, smallest)
    turned = orientation.read(image)
    space = appearance.space(image, data, header)
    image = appearance.plain(image, header)
    if part:
        image = appearance.whole(image, part)
    shorter = min(stored if reduced else image.size)
    box: scaling.Box = reduced[1] if reduced else (0, 0, *image.size)
    if smallest and not reduced:
        image, box = scaling.reduce(image, smallest)
    if space and (convert := colour.conversion(space, image.mode)):
        image = convert(image)
    upright = orientation.turn(appearance.on_white(image), turned)
    return Picture(upright, orientation.turn_box(box, upright, turned), shorter)


def _load(file: ImageFile, data: bytes, smallest: int | None) -> Image.Image:
    if isinstance(file, JpegImageFile):
        return jpeg.load(file, data, smallest)
    if isinstance(file, BmpImageFile):
        return bmp.load(file, data)
    if isinstance(file, PngFile):
        return png_file.load(file, data)
    file.load()
    return file


def resize(
    image: Image.Image, size: int, rule: ResizeRule, box: scaling.Box | None = None
) -> Image.Image:
    """An RGB picture, or the part of it in `box`, `size` pixels high and wide, by a resize rule."""
    return scaling.resize(image, size, size, rule.mode, rule.filter, box)


def read(path: Path, size: int, rule: ResizeRule) -> npt.NDArray[np.uint8]:
    """The picture in a file as uint8 (size, size, 3).

    Raises:
        TrainingError: the file cannot be read as a picture.
    """
    return read_parts(path, size, rule, lambda picture: [picture.box])[0]


def read_parts(
    path: Path, size: int, rule: ResizeRule, parts: Callable[[Picture], list[scaling.Box]]
) -> list[npt.NDArray[np.uint8]]:
    """Parts of the picture in a file, each as uint8 (size, size, 3).

    Raises:
        TrainingError: the file cannot be read as a picture.
    """
    try:
        picture = decode(path.read_bytes(), scaling.OVERSAMPLING * size)
        boxes = parts(picture)
        return [np.asarray(resize(picture.image, size, rule, box)) for box in boxes]
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        raise TrainingError(f"{path}: not a readable picture ({error})") from None
