"""Decodes plain JPEGs, which most uploads are, by libjpeg-turbo without the overhead of Pillow.

A plain JPEG is grey or in colours, baseline or progressive, and has no Exif, colour profile or
Adobe marker. The pixels are the same as Pillow's. Pillow decodes damaged and unusual files, so
their answers do not depend on this module.
"""

import struct
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from service.inference.pictures.scaling import Box

_SCAN, _JFIF = 0xFFDA, 0xFFE0
_FRAMES = frozenset((0xFFC0, 0xFFC2))  # baseline and progressive
_PLAIN = frozenset((0xFFC4, 0xFFDB, 0xFFDD, 0xFFFE))  # tables, restart interval, comments
_SEGMENT = struct.Struct(">HH")  # marker and length
_FRAME = struct.Struct(">BHHB")  # precision, height, width and components
# Pillow fails on shorter ones.
_JFIF_BYTES = 16
# Of more segments Pillow reads the head, and counts its reads.
_MAX_SEGMENTS = 64
_REDUCTIONS = (8, 4, 2)


class PlainJpeg(NamedTuple):
    """A plain JPEG whose head was read.

    Attributes:
        data: its file.
        size: stored width and height.
        reduction: it is decoded at 1 / `reduction` of its size: 1, 2, 4 or 8.
    """

    data: bytes
    size: tuple[int, int]
    reduction: int

    @property
    def width(self) -> int:
        """Width that it is decoded to."""
        return -(-self.size[0] // self.reduction)

    @property
    def height(self) -> int:
        """Height that it is decoded to."""
        return -(-self.size[1] // self.reduction)

    @property
    def filled(self) -> Box:
        """The part of the decoded pixels that the picture fills."""
        return 0, 0, self.size[0] / self.reduction, self.size[1] / self.reduction

    def decode(self) -> NDArray[np.uint8] | None:
        """RGB, uint8 (height, width, 3); None if something is wrong with the file."""
        # Without a least size it is decoded in its full one.
        width, height = (self.width, self.height) if self.reduction > 1 else (0, 0)
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                self.data, "RGB", min_width=width, min_height=height, strict=True
            )
        except ValueError:  # an error or a warning of libjpeg-turbo
            return None
        return pixels


def read(data: bytes, smallest: int | None) -> PlainJpeg | None:
    """Reads the head of a JPEG; None if it is not plain.

    Args:
        data: its file.
        smallest: the shortest side that it may be reduced to; None keeps its full size.
    """
    try:
        size = _plain_size(data)
    except struct.error:  # the file ends here
        return None
    return PlainJpeg(data, size, _reduction(size, smallest)) if size else None


def _plain_size(data: bytes) -> tuple[int, int] | None:
    """Width and height, if there are only plain segments in front of the first scan."""
    at, size = 2, None
    for _ in range(_MAX_SEGMENTS):
        marker, length = _SEGMENT.unpack_from(data, at)
        if marker == _SCAN:
            return size
        if marker in _FRAMES:
            precision, height, width, components = _FRAME.unpack_from(data, at + 4)
            if precision != 8 or components not in (1, 3):
                return None
            size = width, height
        elif marker not in _PLAIN and (marker != _JFIF or length < _JFIF_BYTES):
            return None
        at += 2 + length
    return None


def _reduction(size: tuple[int, int], smallest: int | None) -> int:
    """The one that Pillow's `draft` takes."""
    most = min(size) // smallest if smallest else 1
    return next((reduction for reduction in _REDUCTIONS if reduction <= most), 1)
