"""Resizing, by each mode of the rule."""

import numpy as np
import pytest
from PIL import Image

from service.inference.resizing import fit
from tests.service.inference.pictures import picture, rule


def test_fit_leaves_the_right_size_untouched() -> None:
    assert np.array_equal(fit(picture(8, 8), 8, 8, rule("pad")), np.asarray(picture(8, 8)))


@pytest.mark.parametrize("size", [(8, 8), (5, 6)])
def test_array_is_fitted_as_the_image_of_its_pixels(size: tuple[int, int]) -> None:
    image = picture(8, 8)
    box = (0, 0, 7.5, 7.5)
    fitted = fit(np.asarray(image), *size, rule("stretch"), box)
    np.testing.assert_array_equal(fitted, fit(image, *size, rule("stretch"), box))


def test_stretch_takes_the_whole_picture() -> None:
    expected = picture().resize((8, 6), Image.Resampling.BILINEAR)
    assert np.array_equal(fit(picture(), 8, 6, rule("stretch")), np.asarray(expected))


def test_crop_takes_the_centre_square_alone() -> None:
    image = Image.new("RGB", (30, 10), "red")
    image.paste((0, 0, 255), (10, 0, 20, 10))
    assert np.array_equal(np.unique(fit(image, 4, 4, rule("crop"))), [0, 255])
    assert (fit(image, 4, 4, rule("crop"))[..., 0] == 0).all()


def test_pad_keeps_the_aspect_ratio_between_black_borders() -> None:
    fitted = fit(Image.new("RGB", (40, 20), "white"), 8, 8, rule("pad"))
    assert (fitted[2:6] == 255).all()
    assert (fitted[[0, 1, 6, 7]] == 0).all()


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(1, 1000), (1000, 1), (1, 1)])
def test_fit_survives_extreme_shapes(mode: str, size: tuple[int, int]) -> None:
    fitted = fit(Image.new("RGB", size, "white"), 8, 6, rule(mode))
    assert fitted.shape == (6, 8, 3)
    assert fitted.max() == 255


def test_filter_of_the_rule_is_used() -> None:
    nearest = fit(picture(), 8, 8, rule("stretch", "nearest"))
    assert not np.array_equal(nearest, fit(picture(), 8, 8, rule("stretch", "lanczos")))
