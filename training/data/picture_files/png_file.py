"""The file format of PNG: its chunks, and the pixels in them."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

from PIL.PngImagePlugin import PngImageFile

# A file with more chunks before its pixels is left to Pillow as it is.
_MAX_CHUNKS = 1000


class PngFile(PngImageFile):
    """The parser of PNG; what follows the pixels may be damaged or cut off."""

    def load_end(self) -> None:
        """Reads what follows the pixels, when all of them are there."""
        with suppress(OSError, SyntaxError, ValueError, IndexError, struct.error):
            super().load_end()


def chunks_of(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind, the start and the end of each chunk.

    Raises:
        ValueError: there are too many.
        struct.error: the file ends before the last one does.
    """
    start = 8
    for _ in range(_MAX_CHUNKS):
        (length,) = struct.unpack_from(">I", data, start)
        end = start + 12 + length
        yield data[start + 4 : start + 8], start, end
        start = end
    raise ValueError("too many chunks")


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk with its length and checksum."""
    sum_ = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", sum_)
