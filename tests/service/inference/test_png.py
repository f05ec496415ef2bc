"""PNG in every encoding, and animations whose first frame is part of a canvas."""

import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.errors import TooManyPixelsError, UndecodableImageError
from service.inference.decoding import decode
from tests.contract import encodings
from tests.contract.encodings import encode, png

LIMIT = 1_000_000
CASES = Path("tests/data/pictures")
RANDOM = np.random.default_rng(0)
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 4: (8, 16), 6: (8, 16)}
KINDS = [(kind, depth) for kind, depths in DEPTHS.items() for depth in depths]


def seen(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(decode(data, LIMIT).image)


def samples(kind: int, depth: int) -> NDArray[np.uint16]:
    """A picture of two grounds, whose first colour occurs more than once."""
    picture = RANDOM.integers(0, 1 << depth, (17, 23, CHANNELS[kind])).astype(np.uint16)
    picture[:5, :11] = picture[0, 0]
    return picture


def as_it_looks(picture: NDArray[np.uint16], depth: int) -> NDArray[np.float64]:
    """The colours of samples on white, before they are rounded."""
    most = (1 << depth) - 1
    levels = picture >> 8 if depth == 16 else picture * (255 // most)
    if picture.shape[2] % 2:
        return np.broadcast_to(levels, (*levels.shape[:2], 3)).astype(np.float64)
    alpha = levels[..., -1:] / 255
    return np.broadcast_to(levels[..., :-1] * alpha + 255 * (1 - alpha), (*levels.shape[:2], 3))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("kind", "depth"), KINDS)
def test_every_colour_type_and_depth_is_read(kind: int, depth: int, interlaced: bool) -> None:
    picture = samples(kind, depth)
    data = png(picture, kind, depth, interlaced=interlaced)
    assert np.abs(seen(data) - as_it_looks(picture, depth)).max() <= 1


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("kind", "depth"), [case for case in KINDS if case[0] < 4])
def test_transparent_colour_is_white_at_every_depth(
    kind: int, depth: int, interlaced: bool
) -> None:
    picture = samples(kind, depth)
    clear = (picture == picture[0, 0]).all(-1)
    assert clear.any()
    assert not clear.all()
    key = encodings.transparent(*picture[0, 0].tolist())
    expected = as_it_looks(picture, depth).copy()
    expected[clear] = 255
    data = png(picture, kind, depth, before=key, interlaced=interlaced)
    assert np.abs(seen(data) - expected).max() <= 1


@pytest.mark.parametrize("kind", [0, 2])
def test_colours_that_differ_in_the_low_byte_alone_stay(kind: int) -> None:
    picture = np.full((1, 2, CHANNELS[kind]), 0x1234, np.uint16)
    picture[0, 1, -1] ^= 1
    key = encodings.transparent(*picture[0, 0].tolist())
    row = seen(png(picture, kind, 16, before=key))[0].tolist()
    assert row == [[255] * 3, [0x12] * 3]


def test_bits_beyond_the_depth_of_a_transparent_colour_do_not_count() -> None:
    picture = np.array([[[3], [4]]], np.uint16)
    row = seen(png(picture, 0, 4, before=encodings.transparent(0x0F03)))[0].tolist()
    assert row == [[255] * 3, [68] * 3]


@pytest.mark.parametrize(
    ("kind", "content"),
    [(0, bytes(1)), (2, bytes(5)), (2, b""), (3, bytes(257))],
    ids=["grey", "colours", "empty", "palette"],
)
def test_transparency_that_does_not_fit_is_ignored(kind: int, content: bytes) -> None:
    picture = np.zeros((2, 3, CHANNELS.get(kind, 1)), np.uint16)
    palette = encodings.chunk(b"PLTE", bytes(6)) if kind == 3 else b""
    data = png(picture, kind, 8, before=palette + encodings.chunk(b"tRNS", content))
    assert not seen(data).any()


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [2, 4, 8])
@pytest.mark.parametrize(
    ("alpha", "last"),
    [(b"", [0, 0, 90]), (b"\xff\0", [0, 0, 90]), (b"\xff\xff\0", [255] * 3)],
    ids=["opaque", "another is clear", "the last is clear"],
)
def test_numbers_beyond_a_palette_are_its_last_colour(
    depth: int, interlaced: bool, alpha: bytes, last: list[int]
) -> None:
    picture = np.array([[[0], [3], [(1 << depth) - 1]]], np.uint16)
    before = encodings.chunk(b"PLTE", bytes([200, 0, 0, 0, 150, 0, 0, 0, 90]))
    before += encodings.chunk(b"tRNS", alpha) if alpha else b""
    row = seen(png(picture, 3, depth, before=before, interlaced=interlaced))[0].tolist()
    assert row == [[200, 0, 0], last, last]


def test_damage_to_a_palette_with_few_colours_is_refused() -> None:
    palette = encodings.chunk(b"PLTE", bytes(6))[:-4] + bytes(4)
    with pytest.raises(UndecodableImageError):
        decode(png(np.zeros((2, 3, 1), np.uint16), 3, 8, before=palette), LIMIT)


def test_transparency_that_comes_twice_or_before_its_palette_is_ignored() -> None:
    palette, clear, opaque = (
        encodings.chunk(kind, content)
        for kind, content in ((b"PLTE", bytes(6)), (b"tRNS", b"\0"), (b"tRNS", b"\xff"))
    )
    for before in (clear + palette, palette + opaque + clear, clear + palette + opaque):
        assert not seen(png(np.zeros((2, 3, 1), np.uint16), 3, 8, before=before)).any()


@pytest.mark.parametrize("kind", [b"tEXt", b"iTXt", b"pHYs", b"iCCP", b"gAMA", b"tIME"])
def test_damage_to_a_chunk_that_is_not_needed_does_not_matter(kind: bytes) -> None:
    picture = Image.effect_noise((8, 6), 90)
    data = encode(picture, "PNG")
    damaged = encodings.chunk(kind, b"Software\0 \0")[:-4] + b"\0\0\0\0"
    shown = seen(data[:33] + damaged + data[33:])
    np.testing.assert_array_equal(shown[..., 0], np.asarray(picture))


@pytest.mark.parametrize("compress_level", [0, 6])
@pytest.mark.parametrize(
    "end", [b"", b"\0", b"\0\0\0", b"\0\0vNIDAT", b"\0\0\0\4tEXt", b"junk" * 9]
)
def test_png_with_all_its_pixels_needs_no_end(end: bytes, compress_level: int) -> None:
    picture = Image.effect_noise((80, 60), 90)
    data = encode(picture, "PNG", compress_level=compress_level)
    np.testing.assert_array_equal(seen(data[:-12] + end)[..., 0], np.asarray(picture))
    with pytest.raises(UndecodableImageError):
        decode(data[: len(data) * 9 // 10] + end, LIMIT)


def test_damaged_text_behind_the_pixels_does_not_matter() -> None:
    picture = Image.effect_noise((8, 6), 90)
    data = encode(picture, "PNG")
    for damaged in (encodings.chunk(b"zTXt", b"a\0\0no"), encodings.chunk(b"iTXt", b"")[:-4]):
        shown = seen(data[:-12] + damaged + data[-12:])
        np.testing.assert_array_equal(shown[..., 0], np.asarray(picture))


def test_one_picture_in_two_encodings_is_one_picture() -> None:
    grey, colours = ((CASES / name).read_bytes() for name in
                     ("airplane-grey4-tRNS.png", "airplane-RGBA8.png"))  # fmt: skip
    np.testing.assert_array_equal(seen(grey), seen(colours))


CANVAS, AT = (21, 13), (4, 2)


def on_canvas(picture: Image.Image) -> NDArray[np.uint8]:
    canvas = Image.new("RGB", CANVAS, "white")
    canvas.paste(picture.convert("RGB"), AT)
    return np.asarray(canvas)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_first_frame_of_an_apng_is_shown_and_not_its_picture(mode: str) -> None:
    frame = Image.effect_noise((8, 6), 90).convert(mode)
    data = encodings.animation(encode(frame, "PNG"), CANVAS, AT)
    np.testing.assert_array_equal(seen(data), on_canvas(frame))
    assert decode(data, LIMIT).facts.format == "PNG"


@pytest.mark.parametrize("frames", [0, 1 << 31, (1 << 31) + 1])
def test_apng_of_a_void_number_of_frames_is_a_still_picture(frames: int) -> None:
    data = encodings.animation(encode(Image.new("L", (8, 6), 90), "PNG"), CANVAS, AT)
    one, void = (encodings.chunk(b"acTL", struct.pack(">II", n, 0)) for n in (1, frames))
    assert one in data
    assert not seen(data.replace(one, void)).any()


def test_canvas_of_an_apng_counts_against_the_limit() -> None:
    frame = encode(Image.new("L", (8, 8)), "PNG")
    data = encodings.animation(frame, (1000, 900), (0, 0))
    with pytest.raises(TooManyPixelsError, match="1000 x 900"):
        decode(data, LIMIT)


def test_first_frame_of_a_webp_leaves_white_around_it() -> None:
    frame = Image.effect_noise((8, 6), 90).convert("RGB")
    data = encodings.webp_animation(encode(frame, "WEBP", lossless=True), CANVAS, AT)
    np.testing.assert_array_equal(seen(data), on_canvas(frame))


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("transparency", [None, 5])
def test_first_frame_of_a_gif_leaves_white_around_it(
    interlace: int, transparency: int | None
) -> None:
    frame = Image.effect_noise((8, 6), 90).quantize(16)
    options = {} if transparency is None else {"transparency": transparency}
    data = encode(frame, "GIF", interlace=interlace, **options)
    white = Image.new("RGBA", frame.size, "white")
    shown = frame.convert("RGB").convert("RGBA")
    if transparency is not None:
        shown.putalpha(frame.point([0 if i == transparency else 255 for i in range(256)], "L"))
    expected = on_canvas(Image.alpha_composite(white, shown))
    np.testing.assert_array_equal(seen(encodings.gif_part(data, CANVAS, AT)), expected)


def test_frames_of_a_whole_canvas_are_as_before() -> None:
    frames = [Image.effect_noise((8, 6), 90).convert("RGB") for _ in range(3)]
    for format_ in ("PNG", "WEBP"):
        data = encode(frames[0], format_, save_all=True, append_images=frames[1:], lossless=True)
        np.testing.assert_array_equal(seen(data), np.asarray(frames[0]))
