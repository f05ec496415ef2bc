"""Upright pictures, by EXIF orientation."""

from contextlib import suppress

from PIL import ExifTags, Image
from PIL.Image import Transpose

Box = tuple[float, float, float, float]

# By EXIF orientation: how to transpose the stored picture so that it is upright.
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
# The orientations in which width and height are swapped, or the left or top edge of the stored
# picture becomes the right or bottom edge of the upright one.
SWAPPED = (5, 6, 7, 8)
_LEFT_TO_RIGHT = (2, 3, 6, 7)
_TOP_TO_BOTTOM = (3, 4, 7, 8)


def read(image: Image.Image) -> int:
    """The EXIF orientation of a loaded picture, 1 to 8; 1 is upright.

    That in other metadata (XMP, text) does not count, as in browsers.
    """
    if not image.info.get("exif"):
        return 1
    with suppress(Exception):  # damaged EXIF is no reason to refuse the picture
        exif = image.getexif()  # it may have been read already, and completed from XMP
        if "xmp" in image.info:
            exif = Image.Exif()
            exif.load(image.info["exif"])
        orientation = exif.get(ExifTags.Base.Orientation)
        if orientation in _UPRIGHT:
            return int(orientation)
    return 1


def turn(image: Image.Image, orientation: int) -> Image.Image:
    """The upright picture."""
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def turn_box(stored: Box, upright: Image.Image, orientation: int) -> Box:
    """Where the stored box, which begins at the first column and row, lies in `upright`."""
    _, _, width, height = stored
    if orientation in SWAPPED:
        width, height = height, width
    left = upright.width - width if orientation in _LEFT_TO_RIGHT else 0
    top = upright.height - height if orientation in _TOP_TO_BOTTOM else 0
    return left, top, left + width, top + height
