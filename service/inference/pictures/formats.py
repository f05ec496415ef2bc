"""Accepted formats, by their first bytes, and the only parser that reads each."""

import base64
import io
import re
from collections.abc import Callable

from PIL import AvifImagePlugin
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from service.errors import UnsupportedFormatError
from service.inference.pictures.png_file import PngFile
from service.inference.pictures.tiff import Tiff

try:
    import pi_heif
except ImportError:  # the extra `heic` is not installed
    pi_heif = None

# By the name that answers give; the parsers are called as such, because `Image.open` would choose
# others for some of these files.
PARSERS: dict[str, Callable[[io.BytesIO], ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": Tiff,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
# Each thread that computes decodes a picture of its own, and a picture takes no more threads.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
if pi_heif:
    PARSERS["HEIC"] = pi_heif.HeifImageFile
    options = pi_heif.options
    options.DECODE_THREADS = 1
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC")
SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp"),
        *(".tif", ".tiff", ".avif", ".avifs", ".heic", ".heics", ".heif", ".heifs", ".hif"),
    )
)
_SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF.{4}WEBPVP8[ LX]",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "ISO": rb"\0\0..ftyp",  # the container of AVIF and HEIC
}
_ANY_SIGNATURE = re.compile(
    "|".join(f"(?P<{name}>{start.decode()})" for name, start in _SIGNATURES.items()).encode(),
    re.DOTALL,
)
_BRANDS = {
    "AVIF": {b"avif", b"avis"},
    "HEIC": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"},
}
# Of HEIF, by which a file with any codec may begin.
_CONTAINER = b"mif1"
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{32}")


def recognise(data: bytes) -> str:
    """The name of the format that the bytes begin as.

    Raises:
        UnsupportedFormatError: it is not accepted; the text says what to send.
    """
    name = _signature(data)
    if name == "ISO":
        name = _brand(data)
    if name in PARSERS:
        return name
    if name == "HEIC":
        raise UnsupportedFormatError(
            "HEIC is not supported here, because pi-heif is not installed (the extra `heic`); "
            "send JPEG."
        )
    if _is_text_of_a_picture(data):
        raise UnsupportedFormatError(
            "The upload is JSON or base64, not the bytes of a picture; send the bytes themselves "
            "as the body, or base64 in JSON to /v1/models/<name>:predict."
        )
    raise UnsupportedFormatError(
        "The upload is not a picture that can be read; send JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF "
        "or HEIC."
    )


def _signature(data: bytes) -> str:
    found = _ANY_SIGNATURE.match(data)
    return (found and found.lastgroup) or ""


def _brand(data: bytes) -> str:
    """The format of a file whose first box names the brands that it conforms to."""
    box = data[8 : min(int.from_bytes(data[:4], "big"), 1024)]
    brands = {box[at : at + 4] for at in range(0, len(box), 4)}
    known = next((name for name, known in _BRANDS.items() if brands & known), "")
    return known or ("HEIC" if _CONTAINER in brands else "")


def _is_text_of_a_picture(data: bytes) -> bool:
    """Whether it is JSON, a data URL, or a picture in base64."""
    start = data[:1000].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"{", b"[", b'"', b"data:")):
        return True
    return bool(_BASE64.match(start) and _signature(base64.urlsafe_b64decode(start[:32])))
