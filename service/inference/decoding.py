"""Untrusted bytes to pixels: pure functions over Pillow."""

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
    UnidentifiedImageError,
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

# No other parser of Pillow's is within reach of an upload. These are imported here because Pillow
# would import them, and all the others too, during the first requests.
FORMATS = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
        BmpImagePlugin.BmpImageFile,
    )
)
# Each says whether some bytes are the first of a picture of its format.
_LOOKS = [looks_right for name in FORMATS if (looks_right := Image.OPEN[name][1])]
LARGE_PIXELS = 16_000_000
# Pillow reads segments, chunks and runs one by one, which holds up all else: a picture of 20 MB
# that consists of nothing but such pieces would take half a minute.
MAX_READS = 200_000
# Each scan of a JPEG goes over all its pixels, and takes a hundred bytes: a megabyte could keep the
# decoder busy for ten minutes. Progressive ones have about a dozen.
MAX_SCANS = 50
# A JPEG is decoded at a half, a quarter or an eighth of its size where each side still has so many
# times the pixels of the model's: for 32 pixels that begins where both sides have 128.
OVERSAMPLING = 2
_SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")

_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


# By orientation: the picture lies on its side; its right edge, or its lower one, once upright, was
# the left, or the upper, one of what is stored.
_ON_ITS_SIDE = (5, 6, 7, 8)
_LEFT_WAS_RIGHT = (2, 3, 6, 7)
_TOP_WAS_BOTTOM = (3, 4, 7, 8)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What was uploaded: size in pixels once upright, and Pillow's name of the format.

    The format of a picture that came decoded is `pixels`.
    """

    width: int
    height: int
    format: str


class Picture(NamedTuple):
    """A decoded picture.

    Attributes:
        image: it, upright, RGB, in its own size or a smaller one.
        facts: what was uploaded.
        box: left, top, right and bottom of the part of `image` that it fills. The last column and
            row of a smaller one may stand for less than a pixel.
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

    Args:
        data: the upload.
        max_pixels: most pixels in one picture; one with more is not decoded.
        large: entered while a picture of more than `LARGE_PIXELS` is decoded.
        smallest: a JPEG may be decoded in a smaller size, which takes less time, as long as no
            side is shorter than this; None: every picture is decoded in its own size.

    Raises:
        EmptyUploadError: there are no bytes.
        UnsupportedFormatError: the bytes are no picture of an accepted format.
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
    # Only JPEG can do that; it tells which part of the smaller image is filled, if there is one.
    drafted = image.draft(None, (smallest, smallest)) if smallest else None
    filled: Box = drafted[1] if drafted else (0, 0, width, height)
    with large if large and pixels > LARGE_PIXELS else nullcontext():
        try:
            image.load()
            orientation = _orientation(image)
            upright = _to_rgb(_turn_upright(image, orientation))
        except UndecodableImageError:
            raise
        except Exception as error:  # decoders raise almost anything on hostile bytes
            raise _undecodable(format_) from error
    if orientation in _ON_ITS_SIDE:
        width, height = height, width
    box = _turn_box(filled, upright, orientation)
    return Picture(upright, ImageFacts(width, height, format_), box)


class _Reader(io.BytesIO):
    """A file in memory that bears so many reads and no more."""

    _reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self._reads += 1
        if self._reads > MAX_READS:
            raise _in_pieces("picture")
        return super().read(size)


def _open(data: bytes) -> Image.Image:
    if len(_SCAN.findall(data)) > MAX_SCANS:
        raise _in_pieces("JPEG")
    # The counting of reads takes a third of the time that it takes to open a small picture.
    file = _Reader(data) if len(data) > MAX_READS else io.BytesIO(data)
    try:
        return Image.open(file, formats=FORMATS)
    except UndecodableImageError:
        raise
    except UnidentifiedImageError as error:
        if any(looks_right(data[:16]) for looks_right in _LOOKS):
            raise _undecodable("image") from error
        raise UnsupportedFormatError(
            "The upload is not a picture that can be read; send JPEG, PNG, WebP, GIF or BMP."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixelsError("The picture has too many pixels; send a smaller one.") from error
    except Exception as error:  # a header that passes for an accepted format, and is broken
        raise _undecodable("image") from error


def _undecodable(format_: str) -> UndecodableImageError:
    return UndecodableImageError(
        f"The {format_} data are broken or cut off; open the picture, save it again and resend it."
    )


def _in_pieces(format_: str) -> UndecodableImageError:
    return UndecodableImageError(
        f"The {format_} is made of too many pieces; open it, save it again and resend it."
    )


def _orientation(image: Image.Image) -> int:
    """How the picture is stored, by its EXIF: 1 to 8; 1 is upright."""
    with suppress(Exception):  # damaged EXIF is no reason to refuse the picture
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        if orientation in _UPRIGHT:
            return int(orientation)
    return 1


def _turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def _turn_box(stored: Box, upright: Image.Image, orientation: int) -> Box:
    """Where the part of an image that is filled, from its first column and row, lies upright."""
    _, _, width, height = stored
    if orientation in _ON_ITS_SIDE:
        width, height = height, width
    left = upright.width - width if orientation in _LEFT_WAS_RIGHT else 0
    top = upright.height - height if orientation in _TOP_WAS_BOTTOM else 0
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
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
