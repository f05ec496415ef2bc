"""Reads the colour codes in the container of an AVIF, which Pillow does not give."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

# A file of more boxes in a row, or more properties of pictures, is not read.
_MOST = 10_000


class Codes(NamedTuple):
    """Codes of ITU-T H.273: of the primaries, and of the curve of light.

    Attributes:
        primaries: the first.
        curve: the second.
        peak: the brightest light, in candela per square metre; 0 if the file does not state it.
    """

    primaries: int
    curve: int
    peak: int


def codes(data: bytes) -> Codes | None:
    """The codes that belong to the picture which is shown; None if there are none.

    A file holds others beside it: of its alpha, of a gain map, of a version for bright displays.
    """
    try:
        meta = next(box for kind, box in _boxes(data) if kind == b"meta")
        parts = dict(_boxes(meta[4:]))
        properties = dict(_boxes(parts[b"iprp"]))
        all_ = list(_boxes(properties[b"ipco"]))
        numbers = _associated(properties[b"ipma"], _primary(parts[b"pitm"]))
        own = [all_[number - 1] for number in numbers if number]
        colours = next(box for kind, box in own if kind == b"colr" and box[:4] == b"nclx")
        light = next((box for kind, box in own if kind == b"clli"), bytes(4))
        return Codes(*struct.unpack_from(">HH", colours, 4), *struct.unpack_from(">H", light))
    except (StopIteration, KeyError, IndexError, struct.error):
        return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kind and the content of each box."""
    at = 0
    for _ in range(_MOST):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, at + 8), 16
        size = size or len(data) - at
        if size < head:
            return
        yield kind, data[at + head : at + size]
        at += size


def _primary(box: bytes) -> int:
    (number,) = struct.unpack_from(">I" if box[0] else ">H", box, 4)
    return int(number)


def _associated(box: bytes, picture: int) -> list[int]:
    """The numbers of a picture's properties, from 1 on."""
    is_long, is_wide = box[0] > 0, box[3] & 1
    (count,), at = struct.unpack_from(">I", box, 4), 8
    for _ in range(min(count, _MOST)):
        (number,) = struct.unpack_from(">I" if is_long else ">H", box, at)
        at += 4 if is_long else 2
        length, at = box[at], at + 1
        end = at + length * (2 if is_wide else 1)
        if number == picture:
            found = struct.unpack_from(f">{length}{'H' if is_wide else 'B'}", box, at)
            return [one & (0x7FFF if is_wide else 0x7F) for one in found]
        at = end
    return []
