"""Converts loaded pictures to their appearance: sRGB, 8 bits a sample, on white."""

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.TiffImagePlugin import TiffImageFile

from . import avif, bmp, colour, png
from .colour import Space
from .png import Part

_TIFF_BITS, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_PLAIN = ("L", "LA", "RGB", "RGBA", "CMYK", "LAB")
# By their codes in ITU-T H.273: curves of video, which stand for sRGB's in a still picture.
_VIDEO_CURVES = (1, 6, 14, 15)
_SRGB_CURVE = 13


class UnknownSamplesError(Exception):
    """The samples are 32 bits or fractions, and nothing says which values are black and white."""


def plain(image: Image.Image, header: png.Png | None) -> Image.Image:
    """A loaded picture with 8 bits a sample: L, LA, RGB, RGBA, CMYK or LAB.

    Args:
        image: what the parser has loaded; it may be changed.
        header: what was found in its file, if it is a PNG.

    Raises:
        UnknownSamplesError: its samples have no known range.
    """
    if header:
        image = png.with_transparency(image, header)
    elif image.mode.startswith("I;16"):
        image = _tiff_16(image)
    if image.mode in ("I", "F"):
        raise UnknownSamplesError
    if image.has_transparency_data and image.mode not in ("LA", "RGBA"):
        return image.convert("LA" if image.mode in ("1", "L", "La") else "RGBA")
    if header and header.is_grey and image.mode == "RGBA":
        return image.convert("LA")  # Pillow has no grey with alpha of 16 bits
    if image.mode in _PLAIN:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _tiff_16(image: Image.Image) -> Image.Image:
    """16 or 12 bits to 8: `convert` would clip everything above 255 to white."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    bits = 12 if tags.get(_TIFF_BITS) == (12,) else 16
    samples = (np.asarray(image) >> bits - 8).astype(np.uint8)
    return Image.fromarray(~samples if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO else samples)


def space(image: Image.Image, data: bytes, header: png.Png | None) -> Space | None:
    """The space that the colours of a loaded picture are in; None is sRGB.

    Args:
        image: what the parser has loaded.
        data: its file.
        header: what was found in its file, if it is a PNG.
    """
    if header:
        return header.space
    if image.mode == "LAB":
        return colour.lab_profile()
    if embedded := image.info.get("icc_profile"):
        return bytes(embedded)
    if data.startswith(b"BM"):
        return bmp.profile(data)
    if image.format == "AVIF" and (codes := avif.codes(data)):
        return _space_of_codes(*codes)
    if codes := image.info.get("nclx_profile"):
        return _space_of_codes(codes["color_primaries"], codes["transfer_characteristics"])
    return None


def _space_of_codes(primaries: int, curve: int, peak: int = 0) -> Space | None:
    curve = _SRGB_CURVE if curve in _VIDEO_CURVES else curve
    return colour.space_of_codes(primaries, curve, peak)


def with_alpha(webp: bytes) -> bytes:
    """An animated WebP as one with transparency, for what its first frame leaves free."""
    if webp[12:16] == b"VP8X" and webp[20] & 0x02:
        return webp[:20] + bytes([webp[20] | 0x10]) + webp[21:]
    return webp


def part(image: Image.Image, header: png.Png | None) -> Part | None:
    """Which part of an animation its first frame is; None for all of it, and for other pictures.

    Args:
        image: what the parser has opened and not loaded yet.
        header: what was found in its file, if it is a PNG.
    """
    if header:
        return header.part
    if isinstance(image, GifImageFile):
        box = image.tile[0][1]
        if box and box != (0, 0, *image.size):
            return Part(image.size, box)
    return None


def whole(image: Image.Image, part: Part) -> Image.Image:
    """The first frame of an animation as all of it, transparent where the frame is not."""
    canvas = Image.new("RGBA", part.canvas)
    frame = image.crop(part.box) if image.size == part.canvas else image
    canvas.paste(frame.convert("RGBA"), part.box)
    return canvas


def on_white(image: Image.Image) -> Image.Image:
    """RGB of a plain picture, which is mixed with white where it is transparent."""
    if image.mode == "LA":
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        canvas = Image.new("RGB", image.size, "white")
        canvas.paste(image, mask=image)
        return canvas
    return image if image.mode == "RGB" else image.convert("RGB")  # avoids a copy
