"""Facts about JPEGs that Pillow does not give: kind, decoding cost, a missing end marker."""

import io
import re
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image, ImageChops
from PIL.JpegImagePlugin import JpegImageFile

_SCAN, _END = 0xDA, 0xD9
_SCAN_HEADER = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
# The codings of the decoder: baseline, extended and progressive by Huffman, two by arithmetic.
_DECODED = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_PROGRESSIVE = (0xC2, 0xCA)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# A marker that begins a segment, or ends the picture: not a stuffed zero or a restart.
_MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd7\xff])")
_MAX_MARKERS = 100_000
# Stands for data that are missing: decoded, they change the picture.
_NOISE = bytes(range(7, 247, 3)) * 4


class Frame(NamedTuple):
    """The header of a JPEG.

    Attributes:
        coding: its marker.
        precision: bits of a sample.
        height: in pixels; 0 if it follows the first scan.
        sampling: horizontal and vertical sampling factors of each component.
        in_first_scan: number of components in the first scan.
    """

    coding: int
    precision: int
    height: int
    sampling: list[tuple[int, int]]
    in_first_scan: int

    @property
    def is_decoded(self) -> bool:
        """Whether the decoder knows the kind."""
        is_known = self.coding in _DECODED and self.precision == 8 and self.height > 0
        return is_known and len(self.sampling) in (1, 3, 4)

    @property
    def bytes_per_pixel(self) -> float:
        """What the decoder holds of the whole picture, at whatever size it is decoded.

        That are the coefficients, of 2 bytes, where several scans make up the picture.
        """
        if self.coding not in _PROGRESSIVE and self.in_first_scan == len(self.sampling):
            return 0
        widest = max(max(horizontal for horizontal, _ in self.sampling), 1)
        highest = max(max(vertical for _, vertical in self.sampling), 1)
        return 2 * sum(h * v for h, v in self.sampling) / (widest * highest)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The markers of the first picture in the data with what follows each, its end included."""
    at = 2
    for _ in range(_MAX_MARKERS):
        found = _MARKER.search(data, at)
        if not found:
            return
        marker, at = found[1][0], found.end()
        if marker == _END:
            yield marker, b""
            return
        length = int.from_bytes(data[at : at + 2], "big")
        yield marker, data[at + 2 : at + length]
        at += length


def read_frame(data: bytes) -> Frame | None:
    """Reads the header; None if there is none."""
    frame = None
    for marker, content in _segments(data):
        if marker in _FRAMES and len(content) >= 6 and frame is None:
            factors = content[7 : 6 + 3 * content[5] : 3]
            sampling = [divmod(both, 16) for both in factors]
            height = int.from_bytes(content[1:3], "big")
            frame = Frame(marker, content[0], height, sampling, content[5])
            if not frame.is_decoded:
                return frame
        elif marker == _SCAN and frame and content:
            return frame._replace(in_first_scan=content[0])
    return frame


def count_scan_headers(data: bytes) -> int:
    """How many scans there are at most, in all pictures in the data."""
    return len(_SCAN_HEADER.findall(data))


def has_more_scans(data: bytes, most: int) -> bool:
    """Whether the first picture in the data has more scans than that."""
    for number, (marker, _) in enumerate(_segments(data), 1):
        most -= marker == _SCAN
        if most < 0 or number == _MAX_MARKERS:
            return True
    return False


def load(image: JpegImageFile, data: bytes, smallest: int | None) -> Image.Image:
    """Loads the pixels, also those of a file that has them all and lacks its end marker.

    Args:
        image: the opened picture.
        data: its file.
        smallest: the shortest side that it was reduced to by `draft`, if it was.

    Raises:
        OSError: data are missing or broken.
    """
    try:
        image.load()
        return image
    except OSError:
        data = data.rstrip(b"\xff")
        if not _has_all_coefficients(data):
            raise
        # The last scan is whole if it does not matter what follows it.
        ended, continued = (_load_ended(data + tail, smallest) for tail in (b"", _NOISE))
        if ImageChops.difference(ended, continued).getbbox():
            raise
        return ended


def _has_all_coefficients(data: bytes) -> bool:
    """Whether some scan brings each of the 64 coefficients of each component to full precision."""
    missing: dict[int, set[int]] = {}
    for marker, content in _segments(data):
        if marker in _FRAMES and len(content) > 5 and not missing:
            missing = {component: set(range(64)) for component in content[6::3][: content[5]]}
        elif marker == _SCAN and len(content) >= 6:
            first, last, precision = content[-3:]
            for component in content[1:-3:2]:
                if not precision & 15:
                    missing.get(component, set()).difference_update(range(first, last + 1))
    return bool(missing) and not any(missing.values())


def _load_ended(data: bytes, smallest: int | None) -> Image.Image:
    image = JpegImageFile(io.BytesIO(data + b"\xff\xd9"))
    if smallest:
        image.draft(None, (smallest, smallest))
    image.load()
    return image
