"""Smaller pictures: what is averaged, and how it is rounded."""

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Transpose

from service.inference.pictures import scaling

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
