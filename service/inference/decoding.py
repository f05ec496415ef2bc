"""Decodes untrusted bytes to pixels, by Pillow and within limits."""

import io
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from service.errors import (
    EmptyUploadError,
    ServiceError,
    TooManyPixelsError,
    UndecodableImageError,
    UnsupportedFormatError,
)
from service.inference.pictures import appearance, colour, formats, jpeg, kinds, orientation, png
from service.inference.resizing import Box
from service.settings import JPEG_FACTOR, PIXEL_BYTES

LARGE_PIXELS = 16_000_000
# What decoding takes at its peak, as measured, in bytes for each pixel.
_BYTES = {"PNG": 9, "GIF": 9, "BMP": 9, "TIFF": 9, "WEBP": 17, "AVIF": 11.5, "HEIC": 11.5}
_PART_BYTES = 17
_DEEP_TRANSPARENCY_BYTES = 21
_REDUCED_JPEG_BYTES = 9  # and what `jpeg.Frame.bytes_per_pixel` says
_MOST_BYTES = 21
# Pillow reads segments, chunks and runs one by one in Python, which blocks all other threads: 20 MB
# of nothing but such pieces would take half a minute.
MAX_READS = 200_000
# The decoder passes over all pixels for each scan of a JPEG, which may have a hundred bytes: one
# megabyte of scans would take ten minutes. Progressive JPEGs have about a dozen.
MAX_SCANS = 50
# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if both sides keep at least this many times the
# model's pixels: for a model of 32 pixels that begins at 128 x 128.
OVERSAMPLING = 2


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
        image: the upright picture, RGB, in its full size or a smaller one.
        facts: facts of the upload.
        box: the part of `image` that the picture fills. At a smaller size the picture may cover
            only a fraction of the last column and row.
    """

    image: Image.Image
    facts: ImageFacts
    box: Box


class _Source(NamedTuple):
    """An opened picture, whose pixels are not decoded yet.

    Attributes:
        image: as its parser has opened it.
        format: name of the format.
        data: the upload.
        header: what was found in it, if it is a PNG.
        part: the part of an animation that `image` is, if it is not all of it.
        size: stored width and height, of an animation those of all of it.
        filled: the part of `image` that the picture fills, if its parser will reduce it.
    """

    image: ImageFile
    format: str
    data: bytes
    header: png.Png | None
    part: png.Part | None
    size: tuple[int, int]
    filled: Box


def decode(
    data: bytes,
    max_pixels: int,
    large: AbstractContextManager[object] | None = None,
    smallest: int | None = None,
) -> Picture:
    """Decodes the first frame of an upload to an upright sRGB picture, transparency on white.

    `large` is held while a picture of more than `LARGE_PIXELS` is decoded. To save time and memory,
    a JPEG, or a picture with a colour profile, may be reduced to a shortest side of `smallest`
    pixels; None decodes it in its full size.

    Raises:
        EmptyUploadError: there are no bytes.
        UnsupportedFormatError: the bytes are not a picture of an accepted format, or of a kind of
            it that is not supported.
        TooManyPixelsError: decoding takes more memory than `PIXEL_BYTES` for each of `max_pixels`,
            or it is a JPEG of more than `JPEG_FACTOR` times `max_pixels`.
        UndecodableImageError: the picture is broken.
    """
    if not data:
        raise EmptyUploadError("The upload is empty; send the bytes of a picture.")
    format_ = formats.recognise(data)
    source = None
    try:
        source = _open(format_, data, smallest)
        _check_size(source, max_pixels)
        is_large = source.size[0] * source.size[1] > LARGE_PIXELS
        with large if large and is_large else nullcontext():
            return _decode(source, smallest)
    except ServiceError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixelsError("The picture has too many pixels; send a smaller one.") from error
    except Exception as error:  # decoders raise almost anything on hostile bytes
        if kinds.is_unsupported(format_, data, is_opened=source is not None):
            raise _unsupported(format_) from error
        raise UndecodableImageError(
            f"The {format_} data are broken or cut off; open the picture, save it again and resend "
            "it."
        ) from error


class _Reader(io.BytesIO):
    """A file in memory that refuses more than `MAX_READS` reads."""

    _reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self._reads += 1
        if self._reads > MAX_READS:
            raise _too_many_pieces("picture")
        return super().read(size)


def _open(format_: str, data: bytes, smallest: int | None) -> _Source:
    header = png.read(data) if format_ == "PNG" else None
    if format_ == "JPEG" and jpeg.has_more_scans(data, MAX_SCANS):
        raise _too_many_pieces("JPEG")
    if format_ == "TIFF" and kinds.tiff_pieces(data) > MAX_READS:
        raise _too_many_pieces("TIFF")
    readable = header.data if header else data
    if format_ == "WEBP":
        readable = appearance.with_alpha(data)
    # Counting the reads would add a third to the time that a small picture takes to open.
    file = _Reader(readable) if len(readable) > MAX_READS else io.BytesIO(readable)
    image = formats.PARSERS[format_](file)
    part = appearance.part(image, header)
    size = part.canvas if part else image.size
    filled: Box = (0, 0, *image.size)
    if smallest and (drafted := image.draft(None, (smallest, smallest))):  # of a JPEG alone
        _, filled = drafted
    return _Source(image, format_, data, header, part, size, filled)


def _check_size(source: _Source, max_pixels: int) -> None:
    width, height = source.size
    if width * height * _MOST_BYTES <= PIXEL_BYTES * max_pixels:
        return
    limit = _pixel_limit(source, max_pixels)
    if width * height > limit:
        raise TooManyPixelsError(
            f"The picture has {width} x {height} pixels and the limit is {limit:,} in all for this "
            f"kind of {source.format}; send a smaller one."
        )


def _pixel_limit(source: _Source, max_pixels: int) -> int:
    """How many pixels a picture of this kind may have, by the memory that decoding takes."""
    budget, header = PIXEL_BYTES * max_pixels, source.header
    if source.format == "JPEG":
        frame = jpeg.read_frame(source.data)
        reduction = source.image.width * source.image.height / (source.size[0] * source.size[1])
        taken = (frame.bytes_per_pixel if frame else 0) + _REDUCED_JPEG_BYTES * reduction
        return min(JPEG_FACTOR * max_pixels, int(budget / taken))
    if source.part:
        return int(budget / _PART_BYTES)
    if header and header.depth == 16 and header.transparent:
        return int(budget / _DEEP_TRANSPARENCY_BYTES)
    return int(budget / _BYTES[source.format])


def _decode(source: _Source, smallest: int | None) -> Picture:
    image: Image.Image = source.image
    filled = source.filled
    if isinstance(image, JpegImageFile):
        image = jpeg.load(image, source.data, smallest)
    else:
        image.load()
    turned = orientation.read(image)
    profile = appearance.profile(image, source.data, source.header)
    try:
        image = appearance.plain(image, source.header)
    except appearance.UnknownSamplesError:
        raise _unsupported(source.format) from None
    if source.part:
        image, filled = appearance.whole(image, source.part), (0, 0, *source.size)
    if profile and (convert := colour.conversion(profile, image.mode)):
        image, filled = _reduce(image, filled, smallest)
        image = convert(image)
    image = _to_rgb(image)
    if image is not source.image:
        source.image.close()  # releases its pixels
    upright = orientation.turn(image, turned)
    width, height = source.size
    if turned in orientation.SWAPPED:
        width, height = height, width
    facts = ImageFacts(width, height, source.format)
    return Picture(upright, facts, orientation.turn_box(filled, upright, turned))


def _reduce(image: Image.Image, filled: Box, smallest: int | None) -> tuple[Image.Image, Box]:
    """Spares the conversion of colours most of the pixels; returns the box that is filled, too."""
    factor = min(image.size) // (2 * smallest) if smallest else 1
    if factor < 2:
        return image, filled
    left, top, right, bottom = filled
    return image.reduce(factor), (left / factor, top / factor, right / factor, bottom / factor)


def _to_rgb(image: Image.Image) -> Image.Image:
    return appearance.on_white(image)


def _unsupported(format_: str) -> UnsupportedFormatError:
    article = "an" if format_ == "AVIF" else "a"
    return UnsupportedFormatError(
        f"The upload is {article} {format_} of a kind that is not supported; send PNG or JPEG."
    )


def _too_many_pieces(format_: str) -> UndecodableImageError:
    return UndecodableImageError(
        f"The {format_} is made of too many pieces; open it, save it again and resend it."
    )
