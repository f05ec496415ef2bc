"""Valid pictures of an accepted format that the parsers do not know: not supported, not broken."""

import struct

from service.inference.pictures import jpeg

# What libavif and libheif say of features and codecs that they lack.
_UNSUPPORTED = ("Unsupported", "Not implemented", "No codec available", "Invalid ftyp")
_WIDTH, _LENGTH, _STRIPS, _TILES = 256, 257, 273, 324


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
            case "TIFF" if not is_opened:
                entries = tiff_entries(data)
                is_sized = {_WIDTH, _LENGTH} <= entries.keys()
                return is_sized and not entries.keys().isdisjoint((_STRIPS, _TILES))
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


def tiff_entries(data: bytes) -> dict[int, int]:
    """The tags of the first picture in a TIFF, each with its number of values.

    Raises:
        struct.error: the file ends before them.
    """
    order = "<" if data[:2] == b"II" else ">"
    is_big = b"+" in data[:4]
    (at,) = struct.unpack_from(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)
    (count,) = struct.unpack_from(order + ("Q" if is_big else "H"), data, at)
    start, step, entry = (at + 8, 20, "HHQ") if is_big else (at + 2, 12, "HHI")
    found: dict[int, int] = {}
    for number in range(count):
        tag, _, values = struct.unpack_from(order + entry, data, start + step * number)
        found[tag] = values
    return found


def tiff_pieces(data: bytes) -> int:
    """The number of strips or tiles of the first picture in a TIFF; 0 if it is broken there."""
    try:
        entries = tiff_entries(data)
    except struct.error:
        return 0
    return max(entries.get(_STRIPS, 0), entries.get(_TILES, 0))
