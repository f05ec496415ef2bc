"""Reads the heads of untrusted pictures, and checks the cost of decoding against limits."""

import io
import time
from typing import NamedTuple

from PIL import Image
from PIL.ImageFile import ImageFile

from service.errors import (
    EmptyUploadError,
    ServiceError,
    TooManyPixelsError,
    UndecodableImageError,
    UnsupportedFormatError,
)
from service.inference import plain_jpeg
from service.inference.pictures import appearance, bmp, formats, jpeg, kinds, png
from service.inference.pictures.scaling import Box
from service.inference.plain_jpeg import PlainJpeg
from service.settings import JPEG_FACTOR, PIXEL_BYTES

# What takes longer than so many pixels of a PNG is large, which are some 10 ms of a processor; and
# what takes longer or has more than so many is huge: up to 200 MB, at 12 bytes a pixel.
LARGE_PIXELS = 500_000
HUGE_PIXELS = 16_000_000
# A file of more bytes is large whatever it holds, and one that is read in more pieces.
LARGE_BYTES = 1_000_000
LARGE_READS = 5_000
# A PNG with more compressed texts, of up to a megabyte each, is large.
LARGE_TEXTS = 5
# A JPEG takes a quarter of what a PNG takes, and for each further scan a fortieth.
_SCANS_PER_PNG = 40
_FIRST_SCAN = 10
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


class TakesLongError(Exception):
    """The head alone takes long to read, or may do so."""


class Opened(NamedTuple):
    """An opened picture, whose pixels are not decoded yet.

    Attributes:
        image: as its parser has opened it; a plain JPEG has none.
        format: name of the format.
        data: the upload.
        header: what was found in it, if it is a PNG.
        part: the part of an animation that `image` is, if it is not all of it.
        size: stored width and height, of an animation those of all of it.
        filled: the part of `image` that the picture fills, if its parser will reduce it.
        smallest: the shortest side that it may be reduced to; None keeps its full size.
        cost: about how long decoding takes, in pixels of a PNG: 15 to 20 ns each on one core.
        seconds: how long it took to open.
    """

    image: ImageFile | PlainJpeg
    format: str
    data: bytes
    header: png.Png | None
    part: png.Part | None
    size: tuple[int, int]
    filled: Box
    smallest: int | None
    cost: float
    seconds: float

    @property
    def is_large(self) -> bool:
        """Whether decoding takes long."""
        return self.cost > LARGE_PIXELS

    @property
    def is_huge(self) -> bool:
        """Whether decoding takes so much time or memory that one should be decoded at a time."""
        return self.cost > HUGE_PIXELS or self.size[0] * self.size[1] > HUGE_PIXELS


def open_picture(
    data: bytes, max_pixels: int, smallest: int | None = None, *, quickly: bool = False
) -> Opened:
    """Reads the head of a picture, as far as it says what decoding costs; see `decode`.

    Raises:
        ServiceError: see `decode`.
        TakesLongError: that cannot be done `quickly`.
    """
    if not data:
        raise EmptyUploadError("The upload is empty; send the bytes of a picture.")
    if quickly and len(data) > LARGE_BYTES:
        raise TakesLongError
    format_ = formats.recognise(data)
    opened = None
    try:
        opened = _open(format_, data, smallest, quickly)
        _check_size(opened, max_pixels)
        return opened
    except (ServiceError, TakesLongError):
        raise
    except Exception as error:  # parsers raise almost anything on hostile bytes
        raise explain(error, format_, data, is_opened=opened is not None) from error


def explain(error: Exception, format_: str, data: bytes, *, is_opened: bool) -> ServiceError:
    """The error for the client, for any exception of a parser or decoder.

    Args:
        error: what was raised.
        format_: name of the format that the data begin as.
        data: the upload.
        is_opened: whether the parser has accepted its head.
    """
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return TooManyPixelsError("The picture has too many pixels; send a smaller one.")
    if kinds.is_unsupported(format_, data, str(error), is_opened=is_opened):
        return unsupported(format_)
    return UndecodableImageError(
        f"The {format_} data are broken or cut off; open the picture, save it again and resend it."
    )


class _Reader(io.BytesIO):
    """A file in memory that refuses more than so many reads."""

    def __init__(self, data: bytes, reads: int, error: Exception) -> None:
        super().__init__(data)
        self._reads_left, self._error = reads, error

    def read(self, size: int | None = -1) -> bytes:
        self._reads_left -= 1
        if self._reads_left < 0:
            raise self._error
        return super().read(size)


def _open(format_: str, data: bytes, smallest: int | None, quickly: bool) -> Opened:
    start = time.perf_counter()
    max_reads = LARGE_READS if quickly else MAX_READS
    header, passes = None, 1.0
    if format_ == "PNG":
        if quickly and png.count_texts(data) > LARGE_TEXTS:
            raise TakesLongError
        header = png.read(data)
    elif format_ == "JPEG":
        scans = jpeg.count_scan_headers(data)
        if scans > MAX_SCANS and jpeg.has_more_scans(data, MAX_SCANS):
            raise _too_many_pieces("JPEG", quickly=False)
        passes = (_FIRST_SCAN + scans - 1) / _SCANS_PER_PNG
        if plain := plain_jpeg.read(data, smallest):
            size, filled = plain.size, plain.filled
            cost = size[0] * size[1] * passes
            seconds = time.perf_counter() - start
            return Opened(plain, format_, data, None, None, size, filled, smallest, cost, seconds)
    elif format_ == "TIFF" and kinds.tiff_pieces(data) > max_reads:
        raise _too_many_pieces("TIFF", quickly)
    readable = header.data if header else data
    if format_ == "WEBP":
        readable = appearance.with_alpha(data)
    elif format_ == "BMP":
        readable = bmp.readable(data)
    file = io.BytesIO(readable)
    # Counting the reads would add a third to the time that a small picture takes to open.
    if len(readable) > max_reads:
        file = _Reader(readable, max_reads, _too_many_pieces(format_, quickly))
    image = formats.PARSERS[format_](file)
    part = appearance.part(image, header)
    size = part.canvas if part else image.size
    filled = (0, 0, *size)
    if smallest and (drafted := image.draft(None, (smallest, smallest))):  # of a JPEG alone
        _, filled = drafted
    cost = size[0] * size[1] * passes
    seconds = time.perf_counter() - start
    return Opened(image, format_, data, header, part, size, filled, smallest, cost, seconds)


def _check_size(opened: Opened, max_pixels: int) -> None:
    width, height = opened.size
    if width * height * _MOST_BYTES <= PIXEL_BYTES * max_pixels:
        return
    limit = _pixel_limit(opened, max_pixels)
    if width * height > limit:
        raise TooManyPixelsError(
            f"The picture has {width} x {height} pixels and the limit is {limit:,} in all for this "
            f"kind of {opened.format}; send a smaller one."
        )


def _pixel_limit(opened: Opened, max_pixels: int) -> int:
    """How many pixels a picture of this kind may have, by the memory that decoding takes."""
    budget, header = PIXEL_BYTES * max_pixels, opened.header
    if opened.format == "JPEG":
        frame = jpeg.read_frame(opened.data)
        reduction = opened.image.width * opened.image.height / (opened.size[0] * opened.size[1])
        taken = (frame.bytes_per_pixel if frame else 0) + _REDUCED_JPEG_BYTES * reduction
        return min(JPEG_FACTOR * max_pixels, int(budget / taken))
    if opened.part:
        return int(budget / _PART_BYTES)
    if header and header.depth == 16 and header.transparent:
        return int(budget / _DEEP_TRANSPARENCY_BYTES)
    return int(budget / _BYTES[opened.format])


def unsupported(format_: str) -> UnsupportedFormatError:
    """The error of a sound picture of a kind that is not supported."""
    article = "an" if format_ == "AVIF" else "a"
    return UnsupportedFormatError(
        f"The upload is {article} {format_} of a kind that is not supported; send PNG or JPEG."
    )


def _too_many_pieces(format_: str, quickly: bool) -> UndecodableImageError | TakesLongError:
    if quickly:
        return TakesLongError()
    return UndecodableImageError(
        f"The {format_} is made of too many pieces; open it, save it again and resend it."
    )
