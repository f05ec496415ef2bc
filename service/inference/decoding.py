"""Decodes untrusted bytes to pixels, by Pillow and within limits."""

import io
import re
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)
from PIL.Image import Transpose

from service.errors import (
    EmptyUploadError,
    TooManyPixelsError,
    UndecodableImageError,
    UnsupportedFormatError,
)
from service.inference.resizing import Box

# The first bytes of each accepted format; uploads reach no other parser of Pillow. The plugins are
# imported here because Pillow would import them, and all others, during the first requests.
_SIGNATURES = {
    JpegImagePlugin.JpegImageFile.format: rb"\xff\xd8\xff",
    PngImagePlugin.PngImageFile.format: rb"\x89PNG\r\n\x1a\n",
    WebPImagePlugin.WebPImageFile.format: rb"RIFF.{4}WEBPVP8[ LX]",
    GifImagePlugin.GifImageFile.format: rb"GIF8[79]a",
    BmpImagePlugin.BmpImageFile.format: rb"BM",
}
FORMATS = tuple(_SIGNATURES)
_ANY_SIGNATURE = re.compile(b"|".join(_SIGNATURES.values()), re.DOTALL)
LARGE_PIXELS = 16_000_000
# Pillow reads segments, chunks and runs one by one in Python, which blocks all other threads: 20 MB
# of nothing but such pieces would take half a minute.
MAX_READS = 200_000
# The decoder passes over all pixels for each scan of a JPEG, which may have a hundred bytes: one
# megabyte of scans would take ten minutes. Progressive JPEGs have about a dozen.
MAX_SCANS = 50
# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if both sides keep at least this many times the
# model's pixels: for a model of 32 pixels that begins at 128 x 128.
OVERSAMPLING = 2
_SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")

# By EXIF orientation: how to transpose the stored picture so that it is upright.
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
# The orientations in which width and height are swapped, or the left or top edge of the stored
# picture becomes the right or bottom edge of the upright one.
_SWAPPED = (5, 6, 7, 8)
_LEFT_TO_RIGHT = (2, 3, 6, 7)
_TOP_TO_BOTTOM = (3, 4, 7, 8)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts of an upload: upright size in pixels, and Pillow's name of the format.

    The format is `pixels` where the client sent decoded pixels.
    """

    width: int
    height: int
    format: str


class Picture(NamedTuple):
    """A decoded picture.

    Attributes:
        image: the upright picture, RGB, in its full size or a smaller one.
        facts: facts of the upload.
        box: the part of `image` that the picture fills. At a smaller size the picture may cover
            only a fraction of the last column and row.
    """

    image: Image.Image
    facts: ImageFacts
    box: Box


def decode(
    data: bytes,
    max_pixels: int,
    large: AbstractContextManager[object] | None = None,
    smallest: int | None = None,
) -> Picture:
    """Decodes the first frame of an upload to an upright RGB picture, transparency on white.

    `large` is held while a picture of more than `LARGE_PIXELS` is decoded. To save time, a JPEG may
    be reduced to a shortest side of `smallest` pixels; None decodes it in its full size.

    Raises:
        EmptyUploadError: there are no bytes.
        UnsupportedFormatError: the bytes are not a picture of an accepted format.
        TooManyPixelsError: the picture has more than `max_pixels`.
        UndecodableImageError: the picture is broken.
    """
    if not data:
        raise EmptyUploadError("The upload is empty; send the bytes of a picture.")
    image = _open(data)
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise TooManyPixelsError(
            f"The picture has {image.width} x {image.height} pixels and the limit is "
            f"{max_pixels:,} in all; send a smaller one."
        )
    format_ = image.format or "unknown"
    width, height = image.size
    # Only JPEG supports this; the result holds the part of the smaller image that is filled.
    drafted = image.draft(None, (smallest, smallest)) if smallest else None
    filled: Box = drafted[1] if drafted else (0, 0, width, height)
    with large if large and pixels > LARGE_PIXELS else nullcontext():
        try:
            image.load()
            orientation = _orientation(image)
            method = _UPRIGHT.get(orientation)
            upright = _to_rgb(image.transpose(method) if method is not None else image)
        except UndecodableImageError:
            raise
        except Exception as error:  # decoders raise almost anything on hostile bytes
            raise _undecodable(format_) from error
    if orientation in _SWAPPED:
        width, height = height, width
    box = _upright_box(filled, upright, orientation)
    return Picture(upright, ImageFacts(width, height, format_), box)


class _Reader(io.BytesIO):
    """A file in memory that refuses more than `MAX_READS` reads."""

    _reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self._reads += 1
        if self._reads > MAX_READS:
            raise _too_many_pieces("picture")
        return super().read(size)


def _open(data: bytes) -> Image.Image:
    if not _ANY_SIGNATURE.match(data):
        raise UnsupportedFormatError(
            "The upload is not a picture that can be read; send JPEG, PNG, WebP, GIF or BMP."
        )
    if len(_SCAN.findall(data)) > MAX_SCANS:
        raise _too_many_pieces("JPEG")
    # Counting the reads would add a third to the time that a small picture takes to open.
    file = _Reader(data) if len(data) > MAX_READS else io.BytesIO(data)
    try:
        return Image.open(file, formats=FORMATS)
    except UndecodableImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixelsError("The picture has too many pixels; send a smaller one.") from error
    except Exception as error:  # the header is broken
        raise _undecodable("image") from error


def _undecodable(format_: str) -> UndecodableImageError:
    return UndecodableImageError(
        f"The {format_} data are broken or cut off; open the picture, save it again and resend it."
    )


def _too_many_pieces(format_: str) -> UndecodableImageError:
    return UndecodableImageError(
        f"The {format_} is made of too many pieces; open it, save it again and resend it."
    )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 is upright."""
    with suppress(Exception):  # damaged EXIF is no reason to refuse the picture
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        if orientation in _UPRIGHT:
            return int(orientation)
    return 1


def _upright_box(stored: Box, upright: Image.Image, orientation: int) -> Box:
    """Where the stored box, which begins at the first column and row, lies in `upright`."""
    _, _, width, height = stored
    if orientation in _SWAPPED:
        width, height = height, width
    left = upright.width - width if orientation in _LEFT_TO_RIGHT else 0
    top = upright.height - height if orientation in _TOP_TO_BOTTOM else 0
    return left, top, left + width, top + height


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16 bits a pixel: convert("RGB") would clip everything above 255 to white.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        canvas = Image.new("RGB", image.size, "white")
        canvas.paste(image, mask=image)
        return canvas
    return image if image.mode == "RGB" else image.convert("RGB")  # avoids a copy
