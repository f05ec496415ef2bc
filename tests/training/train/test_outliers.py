from collections.abc import Callable

import numpy as np
import pytest

from training.train import outliers

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 33, 33, 3), np.uint8)
KINDS = [
    outliers.shuffled,
    outliers.scrambled,
    outliers.cloud,
    outliers.waves,
    outliers.drawing,
    outliers.noise,
]


@pytest.mark.parametrize("kind", KINDS)
def test_kind_makes_pictures_that_differ(
    kind: Callable[[outliers.Pictures, np.random.Generator], outliers.Pictures],
) -> None:
    rng = np.random.default_rng(0)
    made = np.stack([kind(IMAGES, rng) for _ in range(10)])
    assert made.shape == (10, 33, 33, 3)
    assert made.dtype == np.uint8
    assert len({image.tobytes() for image in made}) == 10


def test_shuffled_picture_has_the_tiles_of_one_picture() -> None:
    image = IMAGES[:1, :32, :32]
    made = outliers.shuffled(image, np.random.default_rng(0))
    assert not np.array_equal(made, image[0])
    np.testing.assert_array_equal(np.sort(made, axis=None), np.sort(image, axis=None))


def test_scrambled_picture_keeps_its_mean_colour() -> None:
    image = np.full((1, 32, 32, 3), (90, 120, 150)) + IMAGES[:1, :32, :32] // 8
    made = outliers.scrambled(image.astype(np.uint8), np.random.default_rng(0))
    np.testing.assert_allclose(made.mean(axis=(0, 1)), image[0].mean(axis=(0, 1)), atol=2)


def test_equal_generators_give_equal_outliers() -> None:
    first, second = (outliers.make(IMAGES, 12, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_none_asked_gives_none() -> None:
    assert outliers.make(IMAGES, 0, np.random.default_rng(0)).shape == (0, 33, 33, 3)
