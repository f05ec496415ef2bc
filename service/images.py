"""Untrusted bytes to pixels: pure functions over Pillow."""

import io
import re
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
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
from PIL.Image import Resampling, Transpose
from pydantic import BaseModel

from service.errors import (
    EmptyUploadError,
    TooManyPixelsError,
    UndecodableImageError,
    UnsupportedFormatError,
)

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


class ResizeRule(BaseModel):
    """How a picture is brought to the model's size; the artifact states it."""

    mode: Literal["stretch", "crop", "pad"]
    filter: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What was uploaded: size in pixels once upright, and Pillow's name of the format.

    The format of a picture that came decoded is `pixels`.
    """

    width: int
    height: int
    format: str


def decode(
    data: bytes, max_pixels: int, large: AbstractContextManager[object] | None = None
) -> tuple[Image.Image, ImageFacts]:
    """Decodes the first frame of an upload to an upright RGB picture, transparency on white.

    Args:
        data: the upload.
        max_pixels: most pixels in one picture; one with more is not decoded.
        large: entered while a picture of more than `LARGE_PIXELS` is decoded.

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
    with large if large and pixels > LARGE_PIXELS else nullcontext():
        try:
            image.load()
            upright = _to_rgb(_turn_upright(image))
        except UndecodableImageError:
            raise
        except Exception as error:  # decoders raise almost anything on hostile bytes
            raise _undecodable(format_) from error
    return upright, ImageFacts(upright.width, upright.height, format_)


def fit(image: Image.Image, width: int, height: int, rule: ResizeRule) -> NDArray[np.uint8]:
    """Brings an RGB picture to the model's size.

    Returns:
        uint8 array (height, width, 3). A picture of that size already is left untouched.
    """
    if image.size != (width, height):
        resample = Resampling[rule.filter.upper()]
        if rule.mode == "crop":
            # Cropped first: with resize(box=...) the filter would look beyond the box.
            image = _centre_square(image)
        if rule.mode == "pad":
            image = _pad(image, width, height, resample)
        else:
            image = image.resize((width, height), resample)
    return np.asarray(image)


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
    try:
        return Image.open(_Reader(data), formats=FORMATS)
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


def _turn_upright(image: Image.Image) -> Image.Image:
    orientation = None
    with suppress(Exception):  # damaged EXIF is no reason to refuse the picture
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    method = _UPRIGHT.get(orientation or 1)
    return image if method is None else image.transpose(method)


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


def _centre_square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _pad(image: Image.Image, width: int, height: int, resample: Resampling) -> Image.Image:
    scale = min(width / image.width, height / image.height)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    canvas = Image.new("RGB", (width, height))
    canvas.paste(image.resize(inner, resample), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas
