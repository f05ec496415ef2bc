"""Training steps that are made on the device, where the whole data set lies."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from training.data.dataset import Split
from training.presets import Preset
from training.train import backend, device_augment, outliers
from training.train.feed import (
    Batches,
    Steps,
    order_and_mirrored,
    pictures_in_step,
)  # fmt: skip
from training.train.parallel import Share
from training.train.teaching import Teacher

OUTLIERS = 10_000  # made before the training, of which each step takes some
DRAWS = 1  # beside (seed, epoch), which the order is drawn from

Tensor = Any  # of the backend


def source(
    preset: Preset,
    split: Split,
    classes: int,
    seed: int,
    teacher: Teacher | None = None,
    share: Share = Share(),  # noqa: B008 - it is frozen
) -> Callable[[int, int], Steps]:
    """What makes the steps of an epoch, given its number and the step that it begins with.

    Where the preset asks for it, pictures and labels are laid on the device here, and its steps
    hold tensors of the backend.
    """
    if preset.on_device:
        return _OnDevice(preset, split, classes, seed, teacher, share).epoch

    def epoch(number: int, first: int) -> Steps:
        return Batches(preset, split, classes, seed, number, teacher, first=first, share=share)

    return epoch


class _OnDevice:
    """The training pictures on the device, and the function that makes batches of them."""

    def __init__(
        self,
        preset: Preset,
        split: Split,
        classes: int,
        seed: int,
        teacher: Teacher | None,
        share: Share,
    ) -> None:
        self.preset, self.classes, self.seed, self.share = preset, classes, seed, share
        self.steps = preset.steps(len(split))
        self.pictures, self.outliers = pictures_in_step(preset, split)
        self._teacher = teacher
        rng = np.random.default_rng(seed)
        count = min(OUTLIERS, self.outliers * self.steps * preset.epochs)
        smoothing = preset.label_smoothing
        targets = np.eye(classes) * (1 - smoothing) + smoothing / classes
        held = {
            "images": split.images,
            "labels": split.labels.astype(np.int32),
            "targets": targets.astype(np.float32),
            "outliers": outliers.make(split.images, count, rng),
            "noise": rng.standard_normal(device_augment.NOISE_VALUES, np.float32),
        }
        self._held = {name: ops.convert_to_tensor(values) for name, values in held.items()}
        self._made = count
        self._compiled: dict[int, Callable[..., Any]] = {}

    def epoch(self, number: int, first: int) -> Steps:
        """The steps of an epoch; what is random of them is drawn here."""
        size = len(self._held["images"])
        shape = self.steps, self.pictures
        order, mirrored = order_and_mirrored(self.preset, size, self.seed, number)
        order = order[: self.steps * self.pictures]
        rng = np.random.default_rng((self.seed, number, DRAWS))
        how = self.preset.augmentation
        drawn = device_augment.draw(shape, self._held["images"].shape[1], how, rng)
        drawn["picture"] = order.astype(np.int32).reshape(shape)
        drawn["mirrored"] = mirrored[order].reshape(shape)
        if self.outliers:
            chosen = rng.integers(0, self._made, (self.steps, self.outliers))
            drawn["outlier"] = chosen.astype(np.int32)
        own = {name: self.share.of(values.T).T for name, values in drawn.items()}
        tensors = {name: ops.convert_to_tensor(values) for name, values in own.items()}
        state = self._teacher.state if self._teacher else ()
        side = self.preset.size(number)
        if side not in self._compiled:
            self._compiled[side] = backend.compiled(partial(self._batch, side))
        make = partial(self._compiled[side], self._held, tensors, state)
        return _Epoch(make, self.steps, first, side, self.classes)

    def _batch(
        self,
        size: int,
        held: dict[str, Tensor],
        drawn: dict[str, Tensor],
        state: tuple[list[Tensor], ...],
        step: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Pictures uint8 (batch, size, size, 3) and targets float32 (batch, classes)."""
        row = {name: ops.take(values, step, axis=0) for name, values in drawn.items()}
        chosen = row["picture"]
        images = device_augment.change(
            ops.take(held["images"], chosen, axis=0), row["mirrored"], row, held["noise"],
            self.preset.augmentation,
        )  # fmt: skip
        targets = ops.take(held["targets"], ops.take(held["labels"], chosen, axis=0), axis=0)
        images = device_augment.shrink(images, size)
        if self._teacher:
            targets = self._teacher.targets(state, images)
        if self.outliers:
            made = device_augment.shrink(ops.take(held["outliers"], row["outlier"], axis=0), size)
            images = ops.concatenate([images, made], axis=0)
            equal = ops.full((made.shape[0], self.classes), 1 / self.classes, dtype="float32")
            targets = ops.concatenate([targets, equal], axis=0)
        return images, targets


class _Epoch(Steps):
    """The steps of one epoch, each made by one call of a compiled function."""

    def __init__(
        self,
        make: Callable[[Tensor], tuple[Tensor, Tensor]],
        steps: int,
        first: int,
        size: int,
        classes: int,
    ) -> None:
        super().__init__()
        self._make, self._steps, self._first = make, steps, first
        self.size, self.classes = size, classes

    def __len__(self) -> int:
        return self._steps - self._first

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        return self._make(np.array(self._first + step, np.int32))
