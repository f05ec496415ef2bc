import numpy as np

from training import augment

IMAGES = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), np.uint8)


def test_flip_mirrors_about_half_and_leaves_the_rest() -> None:
    flipped = augment.flip(IMAGES, np.random.default_rng(1))
    same = (flipped == IMAGES).all(axis=(1, 2, 3))
    mirrored = (flipped == IMAGES[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 70 < same.sum() < 130


def test_shift_moves_each_picture_by_its_own_offset() -> None:
    moved = augment.shift(IMAGES, np.random.default_rng(1), 2)
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    found = set()
    for before, after in zip(padded, moved, strict=True):
        fits = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if np.array_equal(before[y : y + 8, x : x + 8], after)
        ]
        assert len(fits) == 1
        found.update(fits)
    assert len(found) == 25


def test_equal_generators_give_equal_pictures() -> None:
    first, second = (augment.shift(IMAGES, np.random.default_rng(3), 2) for _ in range(2))
    np.testing.assert_array_equal(first, second)
