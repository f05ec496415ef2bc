"""The file format of PNG: its chunks, and the pixels in them."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

from PIL import Image, PngImagePlugin
from PIL.PngImagePlugin import PngImageFile

# A file with more chunks before its pixels is left to Pillow as it is.
_MAX_CHUNKS = 1000
# If its pixels have more, a wrong checksum of theirs is not passed over.
_MAX_PIECES = 200_000
# The decoder needs a byte behind its data, or it leaves rows that are at their end.
_CHECKSUM_BUT_A_BYTE = 3
# At most so many of the last pixels get a pattern before they are decoded. Where it is there
# afterwards, they were missing, or are that pattern: then they are not the other one.
_MARKED = 64
_PATTERN = bytes(157 * number % 251 + 2 for number in range(4 * _MARKED))
_OTHER_PATTERN = bytes(255 - number for number in _PATTERN)
_CACHED = 64

# Most characters of all texts, of up to 4 bytes each in memory; nobody sees them.
PngImagePlugin.MAX_TEXT_MEMORY = 8_000_000


class PngFile(PngImageFile):
    """The parser of PNG; what follows the pixels may be damaged or cut off."""

    pattern = _PATTERN

    def load_prepare(self) -> None:
        """Marks the pixels that are decoded last."""
        super().load_prepare()
        left, top, right, bottom = self._last()
        mark = _mark(self.mode, right - left, self.pattern)
        self.im.paste(mark.im, (left, top, right, bottom))

    def load_end(self) -> None:
        """Reads what follows the pixels, when the data of all of them are there."""
        with suppress(OSError, SyntaxError, ValueError, IndexError, struct.error):
            super().load_end()

    @property
    def is_marked(self) -> bool:
        """Whether the pixels that would be decoded last look as if they were not."""
        left, top, right, _ = self._last()
        mark = _mark(self.mode, right - left, self.pattern)
        columns = range(right - left)
        return all(self.getpixel((left + x, top)) == mark.getpixel((x, 0)) for x in columns)

    def _last(self) -> tuple[int, int, int, int]:
        """The box of the pixels that are decoded last."""
        width, height = self.size
        left = max(width - _MARKED, 0)
        if not self.info.get("interlace"):
            return left, height - 1, width, height
        if height > 1:  # the last pass has every second row
            bottom = height & ~1
            return left, bottom - 1, width, bottom
        right = max(width & ~1, 1)  # the pass before has every second column
        return right - 1, 0, right, 1


@lru_cache(_CACHED)
def _mark(mode: str, width: int, pattern: bytes) -> Image.Image:
    return Image.frombytes(mode, (width, 1), pattern)


def load(image: PngFile, data: bytes) -> PngFile:
    """Loads the pixels, also where nothing but the checksum of all of them is wrong.

    Args:
        image: the opened picture.
        data: its file.

    Raises:
        Exception: data are missing or broken.
    """
    tile = image.tile
    try:
        image.load()
    except OSError:
        data = _without_checksum(data)
        image = _load_again(image, data, tile, _PATTERN)
    if image.is_marked:
        image = _load_again(image, data, tile, _OTHER_PATTERN)
        if image.is_marked:
            raise OSError("rows are missing")
    return image


def _load_again(image: PngFile, data: bytes, tile: list[Any], pattern: bytes) -> PngFile:
    image.close()  # releases its pixels
    again = PngFile(io.BytesIO(data))
    again.tile, again.pattern = tile, pattern
    again.load()
    return again


def _without_checksum(data: bytes) -> bytes:
    """The file up to the checksum of all pixels.

    Raises:
        ValueError: a chunk of theirs is damaged, or there are too many chunks.
        struct.error: the file ends before its pixels do.
    """
    packed: list[bytes] = []
    first = 0
    for kind, start, end in chunks_of(data, _MAX_PIECES):
        if kind == b"IDAT":
            first = first or start
            packed.append(data[start + 8 : end - 4])
            if chunk(kind, packed[-1]) != data[start:end]:
                raise ValueError("a damaged chunk")
        elif packed:
            break
    return data[:first] + chunk(b"IDAT", b"".join(packed)[:-_CHECKSUM_BUT_A_BYTE])


def chunks_of(data: bytes, most: int = _MAX_CHUNKS) -> Iterator[tuple[bytes, int, int]]:
    """The kind, the start and the end of each chunk.

    Raises:
        ValueError: there are more than `most`.
        struct.error: the file ends before the last one does.
    """
    start = 8
    for _ in range(most):
        (length,) = struct.unpack_from(">I", data, start)
        end = start + 12 + length
        yield data[start + 4 : start + 8], start, end
        start = end
    raise ValueError("too many chunks")


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk with its length and checksum."""
    sum_ = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", sum_)
