"""One picture, one answer: whatever file it is written to, the model sees the same pixels.

`make torture` tries 5,000 files.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from service.inference import decoding, resizing
from service.inference.pictures import scaling
from service.inference.resizing import ResizeRule
from tests.contract import encodings
from tests.contract.encodings import encode, png
from training.data import pictures

PHOTOGRAPH = Image.open(Path(__file__).parents[1] / "data" / "cat.jpg").convert("RGB")
CASES = 5000 if "TORTURE" in os.environ else 200
RULE = ResizeRule(mode="stretch", filter="bilinear")
TURNS = {
    1: (),
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_90,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_270,),
}


class Bound(NamedTuple):
    """How far pixels of 0..255 may be apart: on average, and the greatest difference."""

    mean: float
    most: int


EXACT = Bound(0, 0)
ROUNDED = Bound(0.5, 1)
CONVERTED = Bound(1, 4)
LOSSY = Bound(3, 40)
LOSSY_EDGES = Bound(8, 96)  # black beside white in a few pixels, in a space that is wider than sRGB


class Look(NamedTuple):
    """How a picture looks, and what is needed to write it.

    Attributes:
        image: L or RGB; where it is transparent, the colour of no other pixel.
        clear: what is transparent, bool (height, width); None if nothing is.
        lossy: how far from it lossy files may be.
    """

    image: Image.Image
    clear: NDArray[np.bool_] | None
    lossy: Bound

    @property
    def on_white(self) -> Image.Image:
        pixels = np.array(self.image.convert("RGB"))
        if self.clear is not None:
            pixels[self.clear] = 255
        return Image.fromarray(pixels)

    @property
    def with_alpha(self) -> Image.Image:
        image = self.image.copy()
        if self.clear is not None:
            image.putalpha(Image.fromarray(np.where(self.clear, 0, 255).astype(np.uint8)))
        return image


@st.composite
def looks(draw: st.DrawFn) -> Look:
    """A part of a photograph at some size: colours or grey, all levels or few, perhaps a hole."""
    width, height = draw(st.integers(1, 140)), draw(st.integers(1, 140))
    left, top = draw(st.integers(0, 300)), draw(st.integers(0, 150))
    box = (left, top, left + 151, top + 150)
    image = PHOTOGRAPH.resize((width, height), Image.Resampling.BILINEAR, box)
    if draw(st.booleans()):
        image = image.convert("L")
    levels = draw(st.sampled_from([2, 4, 16, 256]))
    pixels = np.asarray(image).astype(np.uint16)
    pixels = pixels * levels // 256 * (255 // (levels - 1))
    clear = None
    if levels > 2 and draw(st.booleans()):
        clear = np.zeros((height, width), bool)
        clear[: height // 2 + 1, : width // 3 + 1] = True
        # A colour of its own: no black elsewhere.
        pixels = np.maximum(pixels, 255 // (levels - 1))
        pixels[clear] = 0
    is_smooth = levels == 256 and clear is None and min(width, height) >= 16
    bound = LOSSY if is_smooth else LOSSY_EDGES
    return Look(Image.fromarray(pixels.astype(np.uint8)), clear, bound)


class Case(NamedTuple):
    """A file, how the picture in it looks, and how near to that the pixels are."""

    name: str
    data: bytes
    expected: Image.Image
    bound: Bound

    def __repr__(self) -> str:
        return f"<{self.name}, {self.expected.width} x {self.expected.height}>"


def png_cases(look: Look, draw: st.DrawFn) -> tuple[str, bytes, Bound]:
    """Every colour type and depth of PNG that the picture fits into."""
    eight = np.asarray(look.image).reshape(*look.image.size[::-1], -1).astype(np.uint16)
    grey, interlaced = look.image.mode == "L", draw(st.booleans())
    kinds = ["alpha", "key"] if look.clear is not None else ["plain", "alpha"]
    kind = draw(st.sampled_from(kinds))
    values = np.unique(eight)
    depths = [depth for depth in (1, 2, 4, 8) if not (values % (255 // ((1 << depth) - 1))).any()]
    depth = draw(st.sampled_from([*(depths if grey and kind != "alpha" else [8]), 16]))
    most = (1 << depth) - 1
    samples = (eight.astype(np.uint32) * most // 255).astype(np.uint16)
    before = b""
    if kind == "key":
        if depth == 16:  # the low bytes alone tell the colour from black
            samples[look.clear] = 1
        before = encodings.transparent(*([samples[0, 0, 0]] * samples.shape[2]))
    if kind == "alpha":
        clear = look.clear if look.clear is not None else np.zeros(samples.shape[:2], bool)
        samples = np.dstack([samples, np.where(clear, 0, most).astype(np.uint16)])
    colour_type = (0 if grey else 2) + (4 if kind == "alpha" else 0)
    name = f"png {colour_type} of {depth} bits, {kind}{', interlaced' * interlaced}"
    return name, png(samples, colour_type, depth, before=before, interlaced=interlaced), EXACT


def palette_cases(look: Look, draw: st.DrawFn) -> tuple[str, bytes, Bound] | None:
    """Formats with palettes, where the picture has few colours."""
    flat = look.image.convert("RGB")
    few = flat.getcolors(255)
    if few is None:
        return None
    colours: list[tuple[int, ...]] = [colour for _, colour in few]  # type: ignore[misc]
    index = {colour: number for number, colour in enumerate(colours)}
    pixels = np.asarray(flat).reshape(-1, 3).tolist()
    numbers = np.array([index[tuple(pixel)] for pixel in pixels], np.uint8)
    image = Image.fromarray(numbers.reshape(flat.size[::-1]))
    image.putpalette([level for colour in colours for level in colour])
    options = {} if look.clear is None else {"transparency": index[(0, 0, 0)]}
    format_ = draw(st.sampled_from(["PNG", "GIF"] if look.clear is not None else
                                   ["PNG", "GIF", "BMP", "TIFF"]))  # fmt: skip
    return f"palette in {format_}", encode(image, format_, **options), EXACT


def lossless(look: Look, draw: st.DrawFn) -> tuple[str, bytes, Bound]:
    """Formats of whole pixels that Pillow writes."""
    image = look.with_alpha
    formats: list[tuple[str, dict[str, Any]]] = [
        *(("TIFF", {"compression": kind}) for kind in ("raw", "tiff_lzw", "tiff_adobe_deflate")),
        ("WEBP", {"lossless": True, "exact": True}),
        ("PNG", {}),
    ]
    if look.clear is None:
        formats += [("BMP", {}), ("TIFF", {"compression": "packbits"})]
    format_, options = draw(st.sampled_from(formats))
    return f"{image.mode} in {format_} {options}", encode(image, format_, **options), EXACT


def lossy(look: Look, draw: st.DrawFn) -> tuple[str, bytes, Bound]:
    """Formats that phones write, at high quality and with all colours."""
    image = look.with_alpha
    all_colours = {"quality": 97, "subsampling": 0}
    formats: list[tuple[str, dict[str, Any]]] = [
        ("AVIF", {"quality": 97, "subsampling": "4:4:4", "speed": 9}),
        ("HEIF", {"quality": 97, "chroma": 444}),
    ]
    if look.clear is None:
        formats += [("JPEG", all_colours), ("JPEG", all_colours | {"progressive": True})]
    format_, options = draw(st.sampled_from(formats))
    data = encode(image, format_, **options)
    if format_ == "JPEG":
        container = draw(st.sampled_from(["file", "several", "no end"]))
        if container == "several":
            data = encodings.mpo([data, data])
        elif container == "no end":
            data = data[:-2]
        return f"JPEG {options} {container}", data, look.lossy
    return f"{image.mode} in {format_}", data, look.lossy


def part_of_a_canvas(look: Look, draw: st.DrawFn) -> tuple[str, bytes, Image.Image]:
    """Animations whose first frame is part of a canvas."""
    image = look.with_alpha
    width, height = image.size
    left, top = 2 * draw(st.integers(0, 9)), 2 * draw(st.integers(0, 9))
    canvas = (width + left + draw(st.integers(0, 9)), height + top + draw(st.integers(0, 9)))
    expected = Image.new("RGB", canvas, "white")
    kind = draw(st.sampled_from(["PNG", "WEBP", "GIF"]))
    if kind == "GIF":
        image = look.image.quantize(16)
        expected.paste(image.convert("RGB"), (left, top))
        return (
            "part of a GIF",
            encodings.gif_part(encode(image, kind), canvas, (left, top)),
            expected,
        )
    expected.paste(look.on_white, (left, top))
    if kind == "PNG":
        data = encodings.animation(encode(image, kind), canvas, (left, top))
    else:
        still = encode(image, kind, lossless=True, exact=True)
        data = encodings.webp_animation(still, canvas, (left, top))
    return f"part of a {kind}", data, expected


def with_facts(look: Look, draw: st.DrawFn) -> tuple[str, bytes, Image.Image, Bound]:
    """Formats with orientation and colour profile."""
    expected = look.on_white
    orientation = draw(st.integers(1, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored, bound = expected, ROUNDED
    name, profile = draw(
        st.sampled_from([("no", None), ("sRGB", encodings.SRGB), ("P3", encodings.P3)])
    )
    if name == "P3":
        stored, bound = encodings.TO_P3.apply(stored), CONVERTED
    for turn in TURNS[orientation]:
        stored = stored.transpose(turn)
    formats: list[tuple[str, dict[str, Any], bool]] = [
        ("PNG", {}, False),
        ("WEBP", {"lossless": True}, False),
        ("TIFF", {}, False),
        ("JPEG", {"quality": 97, "subsampling": 0}, True),
        ("AVIF", {"quality": 97, "subsampling": "4:4:4", "speed": 9}, True),
        ("HEIF", {"quality": 97, "chroma": 444}, True),
    ]
    format_, options, is_lossy = draw(st.sampled_from(formats))
    data = encode(stored, format_, exif=exif.tobytes(), icc_profile=profile, **options)
    title = f"{format_} with {name} profile, orientation {orientation}"
    return title, data, expected, look.lossy if is_lossy else bound


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One picture in one of the files that it can be written to."""
    look = draw(looks())
    kind = draw(st.sampled_from(["png", "png", "palette", "lossless", "lossy", "part", "facts"]))
    if kind == "part":
        name, data, expected = part_of_a_canvas(look, draw)
        return Case(name, data, expected, ROUNDED)
    if kind == "facts":
        return Case(*with_facts(look, draw))
    writers: dict[str, Callable[[Look, st.DrawFn], tuple[str, bytes, Bound] | None]] = {
        **{"png": png_cases, "palette": palette_cases, "lossless": lossless, "lossy": lossy}
    }
    written = writers[kind](look, draw) or png_cases(look, draw)
    return Case(written[0], written[1], look.on_white, written[2])


def apart(seen: NDArray[np.uint8], expected: NDArray[np.uint8]) -> Bound:
    difference = np.abs(seen.astype(np.int16) - expected)
    return Bound(float(difference.mean()), int(difference.max()))


@settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    derandomize="TORTURE" not in os.environ,
)
@given(cases())
def test_one_picture_has_one_answer(case: Case) -> None:
    whole = decoding.decode(case.data, max_pixels=10**7)
    assert (whole.facts.width, whole.facts.height) == case.expected.size, case.name
    found = apart(np.asarray(whole.image), np.asarray(case.expected))
    assert found.mean <= case.bound.mean, case.name
    assert found.most <= case.bound.most, case.name
    # What the model sees; the picture may have been reduced before.
    small = decoding.decode(case.data, 10**7, smallest=64)
    seen = resizing.fit(small.image, 32, 32, RULE, small.box)
    reduced, box = scaling.reduce(case.expected, 64)
    expected = resizing.fit(reduced, 32, 32, RULE, box)
    is_reduced = small.image.size != whole.image.size
    assert apart(seen, expected).most <= case.bound.most + 2 * is_reduced, case.name
    # The training sees the same.
    for served, smallest in ((whole, None), (small, 64)):
        trained_on = pictures.decode(case.data, smallest)
        np.testing.assert_array_equal(np.asarray(trained_on.image), np.asarray(served.image))
        assert trained_on.box == served.box
