"""Decodes untrusted bytes to pixels, within limits."""

import io
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from service.errors import ServiceError
from service.inference.opening import Opened, TakesLongError, explain, open_picture, unsupported
from service.inference.pictures import (
    appearance,
    bmp,
    colour,
    jpeg,
    orientation,
    png_file,
    scaling,
)
from service.inference.pictures.png_file import PngFile
from service.inference.pictures.scaling import Box
from service.inference.plain_jpeg import PlainJpeg


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts of an upload: upright size in pixels, and the name of the format.

    The format is `pixels` where the client sent decoded pixels.
    """

    width: int
    height: int
    format: str


class Picture(NamedTuple):
    """A decoded picture.

    Attributes:
        pixels: of the upright picture, RGB, in its full size or a smaller one: as Pillow has them,
            or as uint8 (height, width, 3).
        facts: facts of the upload.
        box: the part of `pixels` that the picture fills. At a smaller size the picture may cover
            only a fraction of the last column and row.
    """

    pixels: Image.Image | NDArray[np.uint8]
    facts: ImageFacts
    box: Box

    @property
    def image(self) -> Image.Image:
        """The pixels as Pillow has them."""
        if isinstance(self.pixels, np.ndarray):
            return Image.fromarray(self.pixels)
        return self.pixels


def decode(data: bytes, max_pixels: int, smallest: int | None = None) -> Picture:
    """Decodes the first frame of an upload to an upright sRGB picture, transparency on white.

    To save time and memory, the picture may be reduced to a shortest side of `smallest` pixels;
    None decodes it in its full size.

    Raises:
        EmptyUploadError: there are no bytes.
        UnsupportedFormatError: the bytes are not a picture of an accepted format, or of a kind of
            it that is not supported.
        TooManyPixelsError: decoding takes more memory than `PIXEL_BYTES` for each of `max_pixels`,
            or it is a JPEG of more than `JPEG_FACTOR` times `max_pixels`.
        UndecodableImageError: the picture is broken.
    """
    return decode_opened(open_picture(data, max_pixels, smallest))


def decode_opened(opened: Opened) -> Picture:
    """Decodes a picture whose head was read; see `decode`. Call it once for each.

    Raises:
        ServiceError: see `decode`.
        TakesLongError: it was opened `quickly`, and is made of too many pieces for that.
    """
    try:
        return _decode(opened)
    except (ServiceError, TakesLongError):
        raise
    except Exception as error:  # decoders raise almost anything on hostile bytes
        raise explain(error, opened.format, opened.data, is_opened=True) from error


def _decode(opened: Opened) -> Picture:
    if not isinstance(opened.image, PlainJpeg):
        return _decode_by_pillow(opened, opened.image)
    pixels = opened.image.decode()
    if pixels is None:  # damaged or unusual, which Pillow tells apart
        return _decode_by_pillow(opened, _reopen(opened))
    return Picture(pixels, ImageFacts(*opened.size, opened.format), opened.filled)


def _reopen(opened: Opened) -> JpegImageFile:
    image = JpegImageFile(io.BytesIO(opened.data))
    if opened.smallest:
        image.draft(None, (opened.smallest, opened.smallest))
    return image


def _decode_by_pillow(opened: Opened, file: ImageFile) -> Picture:
    image: Image.Image = file
    filled = opened.filled
    is_jpeg = isinstance(image, JpegImageFile)
    if isinstance(image, JpegImageFile):
        image = jpeg.load(image, opened.data, opened.smallest)
    elif isinstance(image, BmpImageFile):
        image = bmp.load(image, opened.data)
    elif isinstance(image, PngFile) and opened.header:
        image = png_file.load(image, opened.header.data)
    else:
        image.load()
    turned = orientation.read(image)
    space = appearance.space(image, opened.data, opened.header)
    try:
        image = appearance.plain(image, opened.header)
    except appearance.UnknownSamplesError:
        raise unsupported(opened.format) from None
    if opened.part:
        image = appearance.whole(image, opened.part)
    if opened.smallest and not is_jpeg:  # whose decoder has done it
        image, filled = scaling.reduce(image, opened.smallest)
    if space and (convert := colour.conversion(space, image.mode)):
        image = convert(image)
    image = appearance.on_white(image)
    if image is not file:
        file.close()  # releases its pixels
    upright = orientation.turn(image, turned)
    width, height = opened.size
    if turned in orientation.SWAPPED:
        width, height = height, width
    facts = ImageFacts(width, height, opened.format)
    return Picture(upright, facts, orientation.turn_box(filled, upright, turned))
