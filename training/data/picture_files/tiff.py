"""Reads TIFFs that Pillow reads wrongly: samples in planes, and old palettes."""

from PIL import ImagePalette
from PIL.TiffImagePlugin import TiffImageFile

_BITS, _PHOTOMETRIC, _PLANES, _PALETTE = 258, 262, 284, 320
_SEPARATE, _WHITE_IS_ZERO = 2, 0
# The modes whose planes the decoder knows, by bits of a sample.
_KNOWN = {8: ("L", "RGB", "RGBA", "CMYK", "LAB"), 16: ("RGB", "RGBA")}


class Tiff(TiffImageFile):
    """The parser of TIFF."""

    def _open(self) -> None:
        super()._open()
        is_in_planes = self.tag_v2.get(_PLANES) == _SEPARATE
        if is_in_planes and self.tile[0].codec_name != "libtiff":
            self._name_planes()
        colours = self.tag_v2.get(_PALETTE, ())
        # The levels have 16 bits, and 8 in the files of some old writers.
        if self.mode == "P" and max(colours) < 256:
            self.palette = ImagePalette.raw("RGB;L", bytes(colours))

    def _name_planes(self) -> None:
        """Says in the names of planes that samples have 16 bits, which Pillow leaves out.

        Raises:
            SyntaxError: the decoder does not know such planes.
        """
        bits = self.tag_v2.get(_BITS, (1,))[0]
        is_known = self.mode in _KNOWN.get(bits, ())
        is_inverted = self.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
        planes = [tile.args for tile in self.tile if isinstance(tile.args, tuple)]
        if not is_known or is_inverted or any(name not in self.mode for name, *_ in planes):
            raise SyntaxError("unknown planes")
        if bits == 16:
            order = "L" if self.tag_v2.prefix == b"II" else "B"
            named = [(f"{name};16{order}", *others) for name, *others in planes]
            self.tile = [
                tile._replace(args=args) for tile, args in zip(self.tile, named, strict=True)
            ]
