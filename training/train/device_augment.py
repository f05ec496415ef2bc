"""Random changes to training pictures as matrix products, which a GPU makes in no time.

They are those of `augment`, in distribution: what is random of a picture is drawn by NumPy, and the
backend of Keras computes. Pictures are float32 (batch, 3, size, size) within this module.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from training.presets import Augmentation
from training.train import device_jpeg
from training.train.augment import (
    BLUR,
    CONTRAST,
    NOISE,
    QUALITY,
    SQUEEZE,
    TINT,
    ZOOM,
)  # fmt: skip

NOISE_VALUES = 2**20  # of which each noisy picture takes a part

Tensor = Any  # of the backend
Draws = dict[str, npt.NDArray[Any]]


def draw(shape: tuple[int, int], size: int, how: Augmentation, rng: np.random.Generator) -> Draws:
    """What is random of all pictures of some steps.

    Args:
        shape: steps, and pictures in each.
        size: height and width of the pictures.
        how: the shares and sizes of the changes.
        rng: source of all randomness.

    Returns:
        Arrays (steps, pictures) by name, as `change` takes those of one step.
    """
    zoomed, tinted, degraded = (
        rng.random(shape) < share for share in (how.zoom, how.tint, how.degrade)
    )
    factor, squeeze = (_log_uniform(rng, limits, shape) for limits in (ZOOM, SQUEEZE))
    drawn: Draws = {"tinted": tinted}
    for axis, sign in (("rows", 1), ("columns", -1)):
        drawn[f"{axis}_shift"] = rng.integers(-how.shift, how.shift + 1, shape)
        have = np.where(zoomed, np.rint(size * factor * squeeze ** (sign / 2)), size)
        room = (have - size).astype(np.int64)
        drawn[f"{axis}_size"] = have
        drawn[f"{axis}_start"] = rng.integers(np.minimum(0, room), np.maximum(0, room) + 1)
        drawn[f"{axis}_cutout"] = rng.integers(-how.cutout + 1, size, shape) if how.cutout else (
            np.full(shape, size)
        )  # fmt: skip
    drawn["brightness"], drawn["saturation"] = rng.uniform(1 - TINT, 1 + TINT, (2, *shape))
    drawn["contrast"] = _log_uniform(rng, CONTRAST, shape)
    drawn["kind"] = np.where(degraded, 1 + rng.integers(0, 3, shape), 0)
    drawn["blur"] = rng.uniform(*BLUR, shape)
    drawn["noise"] = rng.uniform(*NOISE, shape)
    drawn["noise_start"] = rng.integers(0, NOISE_VALUES - 3 * size * size, shape)
    drawn["quality"] = rng.integers(*QUALITY, shape)
    return {name: _narrow(values) for name, values in drawn.items()}


def _log_uniform(
    rng: np.random.Generator, limits: tuple[float, float], shape: tuple[int, int]
) -> npt.NDArray[np.float64]:
    low, high = (math.log(limit) for limit in limits)
    return np.exp(rng.uniform(low, high, shape))


def _narrow(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.dtype == np.bool_:
        return values
    return values.astype(np.float32 if values.dtype == np.float64 else np.int32)


def change(
    images: Tensor, mirrored: Tensor, drawn: dict[str, Tensor], noise: Tensor, how: Augmentation
) -> Tensor:
    """Changed copies of pictures.

    Args:
        images: uint8 (batch, size, size, 3).
        mirrored: bool (batch,), which of them to mirror.
        drawn: of `draw`, arrays (batch,).
        noise: standard normal values (NOISE_VALUES,).
        how: which changes there are at all.

    Returns:
        uint8 (batch, size, size, 3).
    """
    pixels = ops.transpose(ops.cast(images, "float32"), (0, 3, 1, 2))
    size = images.shape[1]
    rows = _moved(drawn["rows_shift"], size)
    columns = _moved(drawn["columns_shift"], size)
    columns = ops.where(mirrored[:, None], size - 1 - columns, columns)
    pixels = _matrices(pixels, _one_hot(rows, size), _one_hot(columns, size))
    if how.zoom:
        pixels = _matrices(pixels, *(_zoom(drawn, axis, size) for axis in ("rows", "columns")))
    if how.tint:
        pixels = ops.where(_each(drawn["tinted"]), _tinted(pixels, drawn), pixels)
    if how.degrade:
        pixels = _degraded(pixels, drawn, noise)
    if how.cutout:
        inside = [
            _inside(drawn[f"{axis}_cutout"], how.cutout, size) for axis in ("rows", "columns")
        ]
        hidden = ops.logical_and(inside[0][:, None, :, None], inside[1][:, None, None, :])
        pixels = ops.where(hidden, 128.0, pixels)
    return ops.cast(ops.transpose(pixels, (0, 2, 3, 1)), "uint8")


def shrink(images: Tensor, size: int) -> Tensor:
    """Pictures uint8 (batch, height, width, 3) at a smaller height and width."""
    if images.shape[1] == size:
        return images
    pixels = ops.transpose(ops.cast(images, "float32"), (0, 3, 1, 2))
    places = ops.convert_to_tensor(np.arange(size, dtype=np.float32)[None])
    matrix = _resampling(places, ops.full((1,), float(size)), images.shape[1])
    return ops.cast(ops.transpose(_matrices(pixels, matrix, matrix), (0, 2, 3, 1)), "uint8")


def _each(values: Tensor) -> Tensor:
    """A value for each picture, to be combined with its pixels."""
    return values[:, None, None, None]


def _matrices(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Columns, then rows of pictures combined by matrices (batch, new, old), and rounded."""
    wide = ops.round(ops.matmul(pixels, ops.transpose(columns, (0, 2, 1))[:, None]))
    return ops.round(ops.matmul(rows[:, None], wide))


def _places(size: int, dtype: str) -> Tensor:
    return ops.arange(size, dtype=dtype)[None]


def _reflected(places: Tensor, size: Tensor) -> Tensor:
    """Places within 0..size-1, reflected at both ends."""
    return size - 1 - ops.abs(size - 1 - ops.abs(places))


def _moved(shifts: Tensor, size: int) -> Tensor:
    return _reflected(_places(size, "int32") + shifts[:, None], size)


def _one_hot(places: Tensor, size: int) -> Tensor:
    equal = ops.equal(places[:, :, None], ops.arange(size, dtype="int32"))
    return ops.cast(equal, "float32")


def _zoom(drawn: dict[str, Tensor], axis: str, size: int) -> Tensor:
    """The matrices (batch, size, size) that resample pictures and cut a window out."""
    have = drawn[f"{axis}_size"]
    start = ops.cast(drawn[f"{axis}_start"], "float32")
    places = _places(size, "float32") + start[:, None]
    return _resampling(_reflected(places, have[:, None]), have, size)


def _resampling(places: Tensor, have: Tensor, size: int) -> Tensor:
    """The matrices of Pillow's bilinear filter for places (batch, n) in pictures that are resized.

    Args:
        places: which pixels of the resized pictures.
        have: size of the resized pictures, (batch,).
        size: of the pictures before.
    """
    scale = (size / have)[:, None, None]
    centres = (places[:, :, None] + 0.5) * scale
    distances = ops.abs(_places(size, "float32")[None] + 0.5 - centres)
    weights = ops.maximum(1 - distances / ops.maximum(scale, 1.0), 0.0)
    return weights / ops.sum(weights, axis=-1, keepdims=True)


def _tinted(pixels: Tensor, drawn: dict[str, Tensor]) -> Tensor:
    pixels = pixels * _each(drawn["brightness"])
    grey = ops.mean(pixels, axis=1, keepdims=True)
    pixels = grey + (pixels - grey) * _each(drawn["saturation"])
    middle = ops.mean(pixels, axis=(1, 2, 3), keepdims=True)
    pixels = middle + (pixels - middle) * _each(drawn["contrast"])
    return ops.floor(ops.clip(pixels, 0.0, 255.0))


def _degraded(pixels: Tensor, drawn: dict[str, Tensor], noise: Tensor) -> Tensor:
    size = pixels.shape[-1]
    kind = _each(drawn["kind"])
    blur = _blur(drawn["blur"], size)
    blurred = _matrices(pixels, blur, blur)
    count = 3 * size * size
    places = drawn["noise_start"][:, None] + ops.arange(count, dtype="int32")
    values = ops.reshape(ops.take(noise, places, axis=0), (-1, 3, size, size))
    noisy = ops.floor(ops.clip(pixels + values * _each(drawn["noise"]), 0.0, 255.0))
    encoded = device_jpeg.encoded(pixels, ops.cast(drawn["quality"], "float32"))
    pixels = ops.where(ops.equal(kind, 1), blurred, pixels)
    pixels = ops.where(ops.equal(kind, 2), noisy, pixels)
    return ops.where(ops.equal(kind, 3), encoded, pixels)


def _blur(deviations: Tensor, size: int) -> Tensor:
    """The matrices of Pillow's Gaussian blur: three times the mean of three pixels."""
    near = np.eye(size, k=1) + np.eye(size, k=-1)
    near[0, 0] = near[-1, -1] = 1  # the edge goes on
    share = ops.square(deviations)[:, None, None] / 3  # a third of the variance each time
    eye, beside = (ops.convert_to_tensor(m[None].astype(np.float32)) for m in (np.eye(size), near))
    once = (1 - share) * eye + share / 2 * beside
    return ops.matmul(once, ops.matmul(once, once))


def _inside(starts: Tensor, side: int, size: int) -> Tensor:
    places, first = _places(size, "int32"), starts[:, None]
    return ops.logical_and(places >= first, places < first + side)
