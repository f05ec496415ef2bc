"""Reads BMPs that Pillow reads differently from browsers: bit fields, 2 bits, runs with holes."""

import io
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile

_HEAD = struct.Struct("<IIiiHHII8xI")
_MASKS = 54
_OS2_SIZE = 64
_V5_SIZE, _EMBEDDED = struct.pack("<I", 124), b"DEBM"
_PLAIN, _RUNS_OF_8, _RUNS_OF_4, _FIELDS, _ALPHA_FIELDS = 0, 1, 2, 3, 6
_END_OF_LINE, _END, _MOVE = 0, 1, 2
# Bit fields are converted in strips of so many pixels, which bounds the memory for it.
_STRIP = 500_000


class _Head(NamedTuple):
    """What the header says, from the place of the pixels on; the file has the lowest row first."""

    offset: int
    size: int
    width: int
    height: int
    planes: int
    bits: int
    compression: int
    stored: int
    colours: int

    @property
    def is_packed(self) -> bool:
        return self.bits == 2 and self.compression == _PLAIN

    @property
    def has_runs(self) -> bool:
        return (self.bits, self.compression) in ((8, _RUNS_OF_8), (4, _RUNS_OF_4))

    @property
    def rows(self) -> int:
        return abs(self.height)


def readable(data: bytes) -> bytes:
    """The file with a header that Pillow accepts, without pixels that `load` reads itself."""
    found = head = _head(data)
    if head is None or head.bits not in (1, 2, 4, 8, 16, 32):
        return data
    if head.bits <= 8:
        head = head._replace(colours=min(head.colours, 1 << head.bits))
    if head.is_packed:
        data = data[: head.offset]
        head = head._replace(bits=8, colours=head.colours or 4)
    if head.bits <= 8 and 0 < head.colours < 1 << head.bits:
        # Numbers beyond the palette are black, and Pillow would take a palette of black and white
        # for that of a picture of 1 bit.
        head, data = _with_black(head, data)
    if _masks(head, data):
        data = data[: head.offset]
        head = head._replace(compression=_PLAIN)
    return data if head == found else _with_head(data, head)


def load(image: BmpImageFile, data: bytes) -> Image.Image:
    """Loads the pixels of a file that was opened as `readable`.

    Returns:
        RGB, RGBA or what Pillow has loaded.

    Raises:
        Exception: data are missing or broken.
    """
    head = _head(data)
    if head and (masks := _masks(head, data)):
        return _of_fields(head, data, masks)
    if head and head.is_packed:
        packed = _samples(head, data, np.uint8, (head.width + 3) // 4)
        indexes = np.stack([packed >> shift & 3 for shift in (6, 4, 2, 0)], -1)
        return _of_indexes(head, data, indexes.reshape(head.rows, -1)[:, : head.width])
    if head and head.has_runs and image.fp:
        image.fp.seek(image.tile[0].offset)
        return _of_runs(head, data, image.fp.read)
    image.load()
    return image


def profile(data: bytes) -> bytes | None:
    """The ICC profile in a header of the fifth version."""
    if data[14:18] != _V5_SIZE or data[70:74] != _EMBEDDED:
        return None
    at, size = struct.unpack_from("<II", data, 126)
    return data[14 + at : 14 + at + size] or None


def _head(data: bytes) -> _Head | None:
    """The header; None if it is one of the first version, or cut off."""
    if len(data) < 54:
        return None
    head = _Head(*_HEAD.unpack_from(data, 10))
    return head if head.size >= 40 and head.width > 0 and head.height else None


def _with_head(data: bytes, head: _Head) -> bytes:
    changed = bytearray(data[: 10 + _HEAD.size])
    _HEAD.pack_into(changed, 10, *head)
    return bytes(changed) + data[len(changed) :]


def _with_black(head: _Head, data: bytes) -> tuple[_Head, bytes]:
    """The file with one more colour, and its header."""
    end = 14 + head.size + 4 * head.colours
    if end > head.offset:
        return head, data
    longer = head._replace(offset=head.offset + 4, colours=head.colours + 1)
    return longer, data[:end] + bytes(4) + data[end:]


def _masks(head: _Head, data: bytes) -> list[int]:
    """The bits of red, green, blue and, if there is one, alpha; none if they are no such fields."""
    if head.compression not in (_FIELDS, _ALPHA_FIELDS) or head.bits not in (16, 32):
        return []
    has_alpha = head.size >= 56 or head.compression == _ALPHA_FIELDS
    if head.size == _OS2_SIZE or len(data) < _MASKS + 16:
        return []
    masks = list(struct.unpack_from("<4I" if has_alpha else "<3I", data, _MASKS))
    if any(_width(mask) & (_width(mask) + 1) or mask >> head.bits for mask in masks):
        return []
    if not all(masks[:3]):
        return []
    return masks if masks[-1] else masks[:3]


def _width(mask: int) -> int:
    """The greatest value of a field; all ones, unless the field has gaps."""
    return mask // (mask & -mask) if mask else 0


def _samples(
    head: _Head, data: bytes, kind: type[np.unsignedinteger], width: int
) -> NDArray[np.unsignedinteger]:
    """The samples as they are stored, each row filled up to 32 bits."""
    row = (head.width * head.bits + 31) // 32 * 4
    size = np.dtype(kind).itemsize
    return np.ndarray((head.rows, width), np.dtype(kind).newbyteorder("<"), data, head.offset,
                      (row, size))  # fmt: skip


def _of_fields(head: _Head, data: bytes, masks: list[int]) -> Image.Image:
    kind = np.uint16 if head.bits == 16 else np.uint32
    samples = _samples(head, data, kind, head.width)
    if head.height > 0:
        samples = samples[::-1]
    image = Image.new("RGBA" if len(masks) == 4 else "RGB", (head.width, head.rows))
    rows = max(1, _STRIP // head.width)
    for top in range(0, head.rows, rows):
        strip = samples[top : top + rows]
        levels = [np.rint((strip & mask) * (255 / mask)).astype(np.uint8) for mask in masks]
        image.paste(Image.fromarray(np.stack(levels, -1)), (0, top))
    return image


def _of_indexes(head: _Head, data: bytes, indexes: NDArray[np.uint8]) -> Image.Image:
    """The picture of numbers of colours, in rows as they are stored."""
    colours = min(head.colours or 256, 1 << head.bits)
    plain = head._replace(bits=8, compression=_PLAIN, colours=colours)
    padded = np.pad(indexes, ((0, 0), (0, -head.width % 4)))
    file = _with_head(data[: head.offset], plain) + padded.tobytes()
    image = BmpImageFile(io.BytesIO(readable(file)))
    image.load()
    return image


def _of_runs(head: _Head, data: bytes, read: Callable[[int], bytes]) -> Image.Image:
    """The picture of runs of equal pixels; black where no run is, as in browsers."""
    indexes = np.zeros((head.rows, head.width), np.uint8)
    holes = np.full_like(indexes, 255)
    for x, y, run in _runs(head, read):
        end = x + len(run)
        indexes[y, x:end] = np.frombuffer(run, np.uint8)[: head.width - x]
        holes[y, x:end] = 0
    image = _of_indexes(head, data, indexes)
    if holes.any():
        image = image.convert("RGB")
        image.paste("black", mask=Image.fromarray(holes[::-1] if head.height > 0 else holes))
    return image


def _runs(head: _Head, read: Callable[[int], bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Column and row, as they are stored, of each run of numbers of colours.

    Raises:
        ValueError: the data end before the picture does.
    """
    x = y = 0
    while y < head.rows - 1 or (y < head.rows and x < head.width):
        count, value = _exactly(read, 2)
        if count:
            run = bytes([value]) * count if head.bits == 8 else _halves(bytes([value]) * count)
            run = run[:count]
        elif value == _END_OF_LINE:
            x, y = 0, y + 1
            continue
        elif value == _END:
            return
        elif value == _MOVE:
            right, up = _exactly(read, 2)
            x, y = x + right, y + up
            continue
        else:
            size = value if head.bits == 8 else (value + 1) // 2
            stored = _exactly(read, size + size % 2)[:size]
            run = stored if head.bits == 8 else _halves(stored)[:value]
        if x < head.width:
            yield x, y, run
        x += len(run)


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    content = read(size)
    if len(content) < size:
        raise ValueError("runs are missing")
    return content


def _halves(stored: bytes) -> bytes:
    """Two numbers of 4 bits in each byte."""
    return bytes(half for byte in stored for half in (byte >> 4, byte & 15))
