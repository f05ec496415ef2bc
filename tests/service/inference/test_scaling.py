"""Smaller pictures: what is averaged, and how it is rounded."""

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Transpose

from service.inference.decoding import decode
from service.inference.pictures import scaling
from service.inference.resizing import fit
from tests.contract.encodings import encode
from tests.service.inference.pictures import picture, rule

LIMIT = 1_000_000

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (135, 135), np.uint8))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((127, 500), (127, 500)),
        ((128, 500), (64, 250)),
        ((255, 255), (128, 128)),
        ((257, 300), (65, 75)),
        ((9000, 600), (1125, 75)),
        ((9000, 6000), (1125, 750)),
    ],
)
def test_both_sides_keep_the_smallest_size(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    image, box = scaling.reduce(Image.new("L", size), 64)
    assert image.size == expected
    factor = round(size[0] / expected[0])
    assert box == (0, 0, size[0] / factor, size[1] / factor)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "LAB"])
def test_halves_are_averages(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bands = Image.new(mode, (1, 1)).getbands()
    image = Image.merge(mode, [NOISE.transpose(turn) for turn in list(Transpose)[: len(bands)]])
    mixed = {"LA": "La", "RGBA": "RGBa"}.get(mode, mode)
    expected = np.asarray(image.reduce(2).convert(mixed)).astype(int)
    for strip in (scaling._STRIP, 1000):
        monkeypatch.setattr(scaling, "_STRIP", strip)
        halved = scaling.reduce(image, 64)[0]
        assert halved.mode == mode
        assert np.abs(np.asarray(halved.convert(mixed)) - expected).max() <= 1 + (mixed != mode)


def test_halves_are_as_bright_as_the_picture() -> None:
    halved = np.asarray(scaling.reduce(NOISE, 64)[0])
    assert abs(halved[:, :-1].mean() - np.asarray(NOISE)[:, :-1].mean()) < 0.03
    assert np.asarray(NOISE.reduce(2))[:, :-1].mean() - halved[:, :-1].mean() > 0.1


def test_colours_that_are_transparent_do_not_count() -> None:
    clear = Image.new("RGBA", (128, 128), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 65, 128))
    row = np.asarray(scaling.reduce(clear, 64)[0])[5]
    assert row[31:33].tolist() == [[0, 0, 255, 255], [0, 0, 255, 128]]


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_smaller_decoding_gives_the_same_small_picture(orientation: int, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    # An eighth of neither side is a whole number: the last column and row stand for less.
    data = encode(picture(513, 521), "JPEG", quality=95, exif=exif)
    whole, small = decode(data, LIMIT), decode(data, LIMIT, smallest=scaling.OVERSAMPLING * 32)
    assert small.facts == whole.facts
    assert max(small.image.size) == 66
    fitted, expected = (
        fit(image, 32, 32, rule(mode), box).astype(np.int16) for image, _, box in (small, whole)
    )
    assert np.abs(fitted - expected).max() <= 2


def test_no_side_is_decoded_smaller_than_allowed() -> None:
    data = encode(picture(1000, 130), "JPEG")
    assert decode(data, LIMIT, smallest=64).image.size == (500, 65)
    assert decode(data, LIMIT, smallest=66).image.size == (1000, 130)


@pytest.mark.parametrize("format_", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "AVIF", "HEIF"])
def test_every_format_is_reduced_as_a_jpeg_is(format_: str) -> None:
    data = encode(picture(513, 521), format_)
    jpeg = decode(encode(picture(513, 521), "JPEG"), LIMIT, smallest=64)
    other = decode(data, LIMIT, smallest=64)
    assert other.image.size == jpeg.image.size == (65, 66)
    assert other.box == jpeg.box
    assert decode(data, LIMIT).image.size == (513, 521)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_model_sees_the_same_in_a_jpeg_and_in_a_png(factor: int, mode: str) -> None:
    photograph = Image.open("tests/data/cat.jpg")
    noise = Image.effect_noise((70 * factor, 90 * factor), 50)
    image = Image.blend(photograph.resize(noise.size).convert("L"), noise, 0.5)
    jpeg = decode(encode(image, "JPEG", quality=100), LIMIT, smallest=64)
    png = decode(encode(image.convert(mode), "PNG"), LIMIT, smallest=64)
    seen, expected = (fit(some.image, 32, 32, rule("stretch"), some.box) for some in (png, jpeg))
    assert np.abs(seen.astype(int) - expected).max() <= 1
