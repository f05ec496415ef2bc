import numpy as np
import pytest
from scipy import ndimage

from tests.training.conftest import pictures
from training.measure import corruptions
from training.measure.corruptions import CORRUPTIONS, SIZE, corrupted

IMAGES = pictures("test")[0]
# `elastic` has less of its affine part with each severity, and more of its waves; the others differ
# in kind.
NOT_RANDOM = ("defocus blur", "zoom blur", "brightness", "contrast", "pixelate", "jpeg")
NOT_RISING = ("elastic", "frost", "glass blur")


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_severity_changes_pictures_in_the_same_way_each_time(name: str) -> None:
    changes = []
    for severity in range(1, corruptions.SEVERITIES + 1):
        copies = corrupted(IMAGES, name, severity)
        assert copies.dtype == np.uint8
        assert copies.shape == IMAGES.shape
        changes.append(np.abs(copies.astype(int) - IMAGES).mean(axis=(1, 2, 3)))
        assert (changes[-1] > 0).mean() > 0.9
    np.testing.assert_array_equal(copies, corrupted(IMAGES, name, severity))
    means = [change.mean() for change in changes]
    assert name in NOT_RISING or means == sorted(means)


@pytest.mark.parametrize("name", [n for n in CORRUPTIONS if n not in NOT_RANDOM])
def test_seed_decides_on_random_numbers(name: str) -> None:
    assert (corrupted(IMAGES, name, 3) != corrupted(IMAGES, name, 3, seed=1)).any()


def test_parts_of_many_pictures_have_other_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corruptions, "PART", 8)
    same = np.repeat(IMAGES[:1], 16, axis=0)
    copies = corrupted(same, "gaussian noise", 1)
    assert copies.shape == same.shape
    assert (copies[:8] != copies[8:]).any()


def test_there_are_fifteen_with_five_severities() -> None:
    assert [len(parameters) for _, parameters in CORRUPTIONS.values()] == [5] * 15


@pytest.mark.parametrize("name", ["defocus blur", "motion blur", "zoom blur", "glass blur"])
def test_blur_leaves_one_colour_as_it_is(name: str) -> None:
    grey = np.full((2, SIZE, SIZE, 3), 100, np.uint8)
    assert np.abs(corrupted(grey, name, 5).astype(int) - 100).max() <= 1


def test_zoom_blur_has_the_factors_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    factors: list[float] = []

    def note(images: corruptions.Floats, factor: float) -> corruptions.Floats:
        factors.append(factor)
        return images

    monkeypatch.setattr(corruptions, "_zoom", note)
    for severity, count in zip(range(1, 6), (7, 12, 16, 21, 26), strict=True):
        factors.clear()
        corrupted(IMAGES[:1], "zoom blur", severity)
        assert len(factors) == count


def test_softest_lens_is_a_point_and_the_largest_nearly_a_square() -> None:
    point = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    point[0, 16, 16] = 255
    first, last = (corrupted(point, "defocus blur", severity)[0, ..., 0] for severity in (1, 5))
    assert first[16, 16] == int(255 / (1 + 2 * np.exp(-1 / (2 * 0.4**2))) ** 2)
    assert np.count_nonzero(first) == 5  # the corners are rounded to nothing
    np.testing.assert_allclose(last[15:18, 15:18], 255 // 9, atol=1)
    assert last.astype(int).sum() <= 255


def test_fog_makes_the_dark_brighter_and_keeps_the_brightest_in_range() -> None:
    dark = np.full((8, SIZE, SIZE, 3), 20, np.uint8)
    dark[:, 0, 0] = 255
    foggy = corrupted(dark, "fog", 5)
    assert foggy.max() <= 255
    assert foggy.mean() > 60
    assert foggy[:, 8:].std(axis=(1, 2, 3)).min() > 5  # it is not even


def test_motion_goes_one_way_along_its_angle() -> None:
    point = np.zeros((2, SIZE, SIZE, 1), np.float32)
    point[:, 16, 16] = 1
    right, down = corruptions._motion_blurred(point, 6, 2.0, np.array([0.0, -90.0]))[..., 0]
    assert right.sum() == pytest.approx(1, abs=1e-5)
    assert right[16, 16] == right.max() > right[16, 15] > right[16, 14] > 0
    assert right[16, 17:].sum() == right[15].sum() == 0
    assert down[16, 16] == down.max() > down[17, 16] > down[18, 16] > 0


def test_zoom_is_that_of_scipy() -> None:
    images = np.divide(IMAGES[:2], 255, dtype=np.float32)
    middle = ndimage.zoom(images[:, 1:30, 1:30], (1, 1.13, 1.13, 1), order=1)
    trim = (middle.shape[1] - SIZE) // 2
    expected = middle[:, trim : trim + SIZE, trim : trim + SIZE]
    np.testing.assert_allclose(corruptions._zoom(images, 1.13), expected, atol=1e-5)


@pytest.mark.parametrize("edge", ["mirror", "reflect"])
def test_samples_are_those_of_scipy(edge: corruptions.Edge) -> None:
    rng = np.random.default_rng(0)
    images = np.divide(IMAGES[:1], 255, dtype=np.float32)
    rows, columns = rng.uniform(-20, 50, (2, 1, SIZE, SIZE))
    found = corruptions._sample(images, rows, columns, edge)[0]
    for channel in range(3):
        expected = ndimage.map_coordinates(
            images[0, ..., channel], [rows[0], columns[0]], order=1, mode=edge
        )
        np.testing.assert_allclose(found[..., channel], expected, atol=1e-4)


def test_plasma_is_smooth_and_differs_from_picture_to_picture() -> None:
    maps = corruptions._plasma(3, 3.0, np.random.default_rng(0))
    assert maps.shape == (3, SIZE, SIZE)
    np.testing.assert_allclose([maps.min(axis=(1, 2)), maps.max(axis=(1, 2))], [[0] * 3, [1] * 3])
    assert np.abs(np.diff(maps, axis=1)).mean() < 0.1
    assert np.abs(maps[0] - maps[1]).mean() > 0.02
