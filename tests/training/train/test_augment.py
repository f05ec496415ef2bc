from collections.abc import Callable

import numpy as np
import pytest

from training.presets import DEFAULT, Augmentation
from training.train import augment

Change = Callable[[augment.Pictures, np.random.Generator], augment.Pictures]

IMAGES = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), np.uint8)


def test_mirror_changes_the_chosen_and_leaves_the_rest() -> None:
    chosen = np.arange(len(IMAGES)) % 3 == 0
    mirrored = augment.mirror(IMAGES, chosen)
    np.testing.assert_array_equal(mirrored[chosen], IMAGES[chosen][:, :, ::-1])
    np.testing.assert_array_equal(mirrored[~chosen], IMAGES[~chosen])


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


@pytest.mark.parametrize("change", [augment.zoom, augment.tint, augment.degrade])
def test_change_keeps_shape_and_differs(change: Change) -> None:
    changed = change(IMAGES, np.random.default_rng(0))
    assert changed.shape == IMAGES.shape
    assert changed.dtype == np.uint8
    assert (changed != IMAGES).any(axis=(1, 2, 3)).mean() > 0.9


def test_zoom_keeps_the_content() -> None:
    ramp = np.broadcast_to(np.arange(0, 256, 8, dtype=np.uint8)[None, :, None], (50, 32, 32, 3))
    for image in augment.zoom(ramp, np.random.default_rng(0)):
        assert np.ptp(image.astype(int), axis=0).max() <= 1  # columns are still of one colour
        assert np.abs(np.diff(image[0, :, 0].astype(int))).max() <= 16  # and run on without a cut


def test_pictures_are_those_that_version_2_was_trained_on() -> None:
    """Written in another way, with the same random numbers."""
    batch, height, width, _ = IMAGES.shape
    rng = np.random.default_rng(5)
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    top, left = rng.integers(0, 5, (2, batch, 1))
    rows, columns = top + np.arange(height), left + np.arange(width)
    moved = padded[np.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]
    top, left = rng.integers(-3, height, (batch, 1)), rng.integers(-3, width, (batch, 1))
    hidden_rows = (np.arange(height) >= top) & (np.arange(height) < top + 4)
    hidden_columns = (np.arange(width) >= left) & (np.arange(width) < left + 4)
    hidden = hidden_rows[:, :, None] & hidden_columns[:, None, :]
    expected = np.where(hidden[..., None], np.uint8(128), moved)
    again = np.random.default_rng(5)
    found = augment.cutout(augment.shift(IMAGES, again, 2), again, 4)
    np.testing.assert_array_equal(found, expected)
    assert rng.random() == again.random()


def test_cutout_hides_at_most_a_square() -> None:
    images = np.zeros((500, 16, 16, 3), np.uint8)
    hidden = (augment.cutout(images, np.random.default_rng(0), 4) == 128).all(axis=3)
    assert set(np.unique(hidden.sum(axis=(1, 2)))) <= {w * h for w in range(5) for h in range(5)}
    assert hidden.any(axis=0).all()  # every place is hidden in some picture
    assert hidden.sum(axis=(1, 2)).max() == 16


def test_share_of_changed_pictures_is_as_asked() -> None:
    how = Augmentation(shift=0, tint=0.25)
    changed = augment.change(IMAGES, how, np.random.default_rng(0))
    share = (changed != IMAGES).any(axis=(1, 2, 3)).mean()
    assert 0.15 < share < 0.35


def test_nothing_asked_changes_nothing() -> None:
    how = Augmentation(flip="none", shift=0)
    np.testing.assert_array_equal(augment.change(IMAGES, how, np.random.default_rng(0)), IMAGES)


def test_equal_generators_give_equal_pictures() -> None:
    how = DEFAULT.augmentation
    first, second = (augment.change(IMAGES, how, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
