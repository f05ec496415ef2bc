"""The changes on the device against those of NumPy and Pillow."""

from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import numpy.typing as npt
import pytest
from keras import ops
from PIL import Image, ImageFilter

from training.data.dataset import DataSet
from training.measure.robustness import encoded
from training.presets import DEFAULT, Augmentation
from training.train import augment, device_augment, device_jpeg

Floats = npt.NDArray[np.float32]
PLAIN = Augmentation(flip="none", shift=0)
ROUNDS = 8  # epochs of changes, to tell a difference of distribution from chance


def on_device(
    images: augment.Pictures, how: Augmentation, *, seed: int = 0, mirrored: bool = False
) -> augment.Pictures:
    rng = np.random.default_rng(seed)
    drawn = device_augment.draw((1, len(images)), images.shape[1], how, rng)
    row = {name: ops.convert_to_tensor(values[0]) for name, values in drawn.items()}
    noise = rng.standard_normal(device_augment.NOISE_VALUES, np.float32)
    changed = device_augment.change(
        ops.convert_to_tensor(images), ops.convert_to_tensor(np.full(len(images), mirrored)), row,
        ops.convert_to_tensor(noise), how,
    )  # fmt: skip
    found: augment.Pictures = ops.convert_to_numpy(changed)
    return found


def planes(images: augment.Pictures) -> keras.KerasTensor:
    return ops.convert_to_tensor(images.transpose(0, 3, 1, 2).astype(np.float32))


def pixels(tensor: keras.KerasTensor) -> Floats:
    found: Floats = ops.convert_to_numpy(tensor).transpose(0, 2, 3, 1)
    return found


def each(images: augment.Pictures, change: Callable[[Image.Image], Image.Image]) -> Floats:
    """All pictures as Pillow changes them."""
    changed = [np.asarray(change(Image.fromarray(image))) for image in images]
    return np.stack(changed).astype(np.float32)


def test_nothing_asked_changes_nothing(sample: DataSet) -> None:
    images = sample.train.images
    np.testing.assert_array_equal(on_device(images, PLAIN), images)
    np.testing.assert_array_equal(on_device(images, PLAIN, mirrored=True), images[:, :, ::-1])


def test_shift_moves_each_picture_by_its_own_offset() -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3), np.uint8)
    moved = on_device(images, replace(PLAIN, shift=2))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    found = set()
    for before, after in zip(padded, moved, strict=True):
        fits = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if np.array_equal(before[y : y + 16, x : x + 16], after)
        ]
        assert len(fits) == 1
        found.update(fits)
    assert len(found) == 25


def test_cutout_hides_at_most_a_square() -> None:
    images = np.zeros((500, 16, 16, 3), np.uint8)
    hidden = (on_device(images, replace(PLAIN, cutout=4)) == 128).all(axis=3)
    assert set(np.unique(hidden.sum(axis=(1, 2)))) <= {w * h for w in range(5) for h in range(5)}
    assert hidden.any(axis=0).all()  # every place is hidden in some picture
    assert hidden.sum(axis=(1, 2)).max() == 16


@pytest.mark.parametrize("size", [20, 27, 40])
def test_resizing_is_that_of_pillow(sample: DataSet, size: int) -> None:
    images = sample.train.images
    places = ops.convert_to_tensor(np.arange(size, dtype=np.float32)[None])
    matrix = device_augment._resampling(places, ops.full((1,), float(size)), 32)
    found = pixels(device_augment._matrices(planes(images), matrix, matrix))
    expected = each(images, lambda x: x.resize((size, size), Image.Resampling.BILINEAR))
    assert np.abs(found - expected).max() <= 2
    assert np.abs(found - expected).mean() < 0.25
    if size < 32:
        small = ops.convert_to_numpy(device_augment.shrink(ops.convert_to_tensor(images), size))
        assert np.abs(small.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("deviation", [0.3, 0.7, 1.0])
def test_blur_is_that_of_pillow(sample: DataSet, deviation: float) -> None:
    images = sample.train.images
    matrix = device_augment._blur(ops.full((1,), deviation), 32)
    found = pixels(device_augment._matrices(planes(images), matrix, matrix))
    expected = each(images, lambda x: x.filter(ImageFilter.GaussianBlur(deviation)))
    assert np.abs(found - expected).max() <= 2  # Pillow rounds six times


@pytest.mark.parametrize("quality", [30, 49, 60, 94])
@pytest.mark.parametrize("size", [32, 24])  # 24 is no multiple of the squares
def test_jpeg_is_nearly_that_of_pillow(sample: DataSet, quality: int, size: int) -> None:
    # Moved: on the squares that they were encoded in before, many values lie between two steps.
    images = np.roll(sample.train.images, (3, 5), (1, 2))[:, :size, :size]
    quality_ = ops.full((len(images),), float(quality))
    found = pixels(device_jpeg.encoded(planes(images), quality_))
    expected = encoded(images, quality).astype(np.float32)
    changed = np.abs(expected - images).mean()
    assert np.abs(found - images).mean() == pytest.approx(changed, rel=0.1)
    # A coefficient between two steps is rounded to either, and changes a square by a little.
    assert np.abs(found - expected).mean() < 0.2 * changed + 0.3


STATISTICS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "changed pictures": lambda before, after: (before != after).any(axis=(1, 2, 3)),
    "difference": lambda before, after: np.abs(after - before).mean(axis=(1, 2, 3)),
    "brightness": lambda _, after: after.mean(axis=(1, 2, 3)),
    "contrast": lambda _, after: after.std(axis=(1, 2, 3)),
    "saturation": lambda _, after: after.std(axis=3).mean(axis=(1, 2)),
    "detail": lambda _, after: np.abs(np.diff(after, axis=1)).mean(axis=(1, 2, 3)),
    "edge": lambda _, after: after[:, 0].mean(axis=(1, 2)),
}


@pytest.mark.parametrize(
    "how",
    [
        replace(PLAIN, zoom=0.5),
        replace(PLAIN, tint=0.5),
        replace(PLAIN, degrade=0.5),
        DEFAULT.augmentation,
    ],
    ids=["zoom", "tint", "degrade", "all"],
)
def test_distribution_is_that_of_numpy(sample: DataSet, how: Augmentation) -> None:
    """Mean and deviation of what tells changes apart, within four standard errors."""
    images = np.tile(sample.train.images, (ROUNDS, 1, 1, 1))
    host = augment.change(images, how, np.random.default_rng(1))
    before, *both = (x.astype(np.float32) for x in (images, host, on_device(images, how)))
    for name, statistic in STATISTICS.items():
        one, other = (statistic(before, after) for after in both)
        error = 4 * float(np.sqrt((one.var() + other.var()) / len(one)))
        assert float(one.mean()) == pytest.approx(float(other.mean()), abs=error + 0.05), name
        assert float(one.std()) == pytest.approx(float(other.std()), rel=0.15, abs=0.02), name


def test_equal_generators_give_equal_pictures(sample: DataSet) -> None:
    first, again, other = (
        on_device(sample.train.images, DEFAULT.augmentation, seed=seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
