"""Finds valid pictures that the parsers do not support, to tell them from broken ones."""

import struct
from typing import NamedTuple

from service.inference.pictures import jpeg

# What libavif and libheif say of features and codecs that they lack.
_UNSUPPORTED = ("Unsupported", "Not implemented", "No codec available", "Invalid ftyp")
_WIDTH, _LENGTH, _COMPRESSION, _STRIPS, _TILES = 256, 257, 259, 273, 324
# Those of TIFF that are decoded: none, CCITT, LZW, JPEG, Deflate, PackBits, LZMA and Zstandard.
_COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32771, 32773, 32946, 34925, 50000)
_SHORT = 3


def is_unsupported(format_: str, data: bytes, reason: str, *, is_opened: bool) -> bool:
    """Whether a picture that cannot be decoded is sound, and of an uncommon kind.

    Args:
        format_: name of the format.
        data: the file.
        reason: what its parser says of it.
        is_opened: whether its parser has accepted its head; most refuse such kinds there.
    """
    try:
        match format_:
            case "JPEG":
                frame = jpeg.read_frame(data)
                return frame is not None and not frame.is_decoded
            case "BMP" if not is_opened:
                return _is_sound_bmp(data)
            case "TIFF":
                entries = tiff_entries(data)
                is_sized = {_WIDTH, _LENGTH} <= entries.keys()
                is_sound = is_sized and not entries.keys().isdisjoint((_STRIPS, _TILES))
                is_known = entries.get(_COMPRESSION, Entry(1, 1)).first in _COMPRESSIONS
                return is_sound and not (is_opened and is_known)
            case "AVIF" | "HEIC":
                return any(word in reason for word in _UNSUPPORTED)
            case _:
                return False
    except struct.error:
        return False


def _is_sound_bmp(data: bytes) -> bool:
    (size,) = struct.unpack_from("<I", data, 14)
    width, height, planes, bits = struct.unpack_from("<HHHH" if size == 12 else "<iiHH", data, 18)
    is_header = size == 12 or 16 <= size <= 64 or size in (108, 124)
    is_sound = width > 0 and height != 0 and planes == 1 and bits in (0, 1, 2, 4, 8, 16, 24, 32, 64)
    return is_header and is_sound and len(data) >= 14 + size


class Entry(NamedTuple):
    """An entry of a TIFF: how many values it has, and the first if it is small."""

    values: int
    first: int


def tiff_entries(data: bytes) -> dict[int, Entry]:
    """The tags of the first picture in a TIFF.

    Raises:
        struct.error: the file ends before them, or has more than a TIFF of 32 bits may have.
    """
    order = "<" if data[:2] == b"II" else ">"
    is_big = b"+" in data[:4]
    (start,) = struct.unpack_from(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)
    if start > len(data):
        raise struct.error("beyond the file")
    (count,) = struct.unpack_from(order + ("Q" if is_big else "H"), data, start)
    if count > 0xFFFF:
        raise struct.error("too many entries")
    start, step, head = (start + 8, 20, "HHQ") if is_big else (start + 2, 12, "HHI")
    found: dict[int, Entry] = {}
    for at in range(start, start + step * count, step):
        tag, kind, values = struct.unpack_from(order + head, data, at)
        at_value = at + struct.calcsize(order + head)
        (first,) = struct.unpack_from(order + ("H" if kind == _SHORT else "I"), data, at_value)
        found[tag] = Entry(values, first)
    return found


def tiff_pieces(data: bytes) -> int:
    """The number of strips or tiles of the first picture in a TIFF; 0 if it is broken there."""
    try:
        entries = tiff_entries(data)
    except struct.error:
        return 0
    return max((entries[tag].values for tag in (_STRIPS, _TILES) if tag in entries), default=0)
