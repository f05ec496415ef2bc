"""The training steps: augmented pictures and their targets."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from training.data.dataset import Split
from training.presets import Preset
from training.train import augment, backend, outliers
from training.train.parallel import Share
from training.train.teaching import Teacher

QUEUED_STEPS = 4


def pictures_in_step(preset: Preset, split: Split) -> tuple[int, int]:
    """Number of training pictures and of outliers in each step."""
    pictures = min(preset.batch_size, len(split))
    return pictures, round(preset.augmentation.outliers * pictures)


def order_and_mirrored(
    preset: Preset, pictures: int, seed: int, epoch: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The order of the training pictures in an epoch, and which of them are mirrored."""
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(pictures)
    mirrored = np.zeros(pictures, np.bool_)
    if preset.augmentation.flip == "random":
        mirrored = rng.random(pictures) < 0.5
    if preset.augmentation.flip == "alternating":
        half = np.random.default_rng(seed).random(pictures) < 0.5
        mirrored = half ^ (epoch % 2 == 1)
    return order, mirrored


class Steps(keras.utils.PyDataset):  # type: ignore[misc]
    """The steps of one epoch.

    Attributes:
        classes: number of classes.
        size: height and width of the pictures in pixels.
    """

    classes: int
    size: int


class Batches(Steps):
    """Steps that are made on the processor; equal arguments give equal steps.

    Only whole batches are used, so that all steps have one shape. The order is new in each epoch,
    so each picture is used in most epochs.
    """

    def __init__(
        self,
        preset: Preset,
        split: Split,
        classes: int,
        seed: int,
        epoch: int,
        teacher: Teacher | None = None,
        *,
        first: int = 0,
        share: Share = Share(),  # noqa: B008 - it is frozen
    ) -> None:
        """Draw the order of the epoch and the mirrored pictures.

        Args:
            preset: what is trained.
            split: the training pictures.
            classes: number of classes.
            seed: of the run.
            epoch: counted from 0.
            teacher: gives the targets in place of the labels.
            first: step to begin with, where a run is resumed.
            share: what this process makes of each batch.
        """
        super().__init__(workers=1, max_queue_size=QUEUED_STEPS)
        self._preset, self._split = preset, split
        self.classes, self.size = classes, preset.size(epoch)
        self._teacher = teacher
        self._answer = backend.compiled(teacher.targets) if teacher else None
        self._key, self._first, self._share = (seed, epoch), first, share
        self._pictures, self._outliers = pictures_in_step(preset, split)
        self._order, self._mirrored = order_and_mirrored(preset, len(split), seed, epoch)

    def __len__(self) -> int:
        """Number of steps that are left of the epoch."""
        return self._preset.steps(len(self._split)) - self._first

    def __getitem__(self, step: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Pictures uint8 (batch, size, size, 3) and targets float32 (batch, classes).

        A target holds the probability of each class; it is the same for all in outliers. The whole
        batch is made, so that it is the same whatever number of processes share it.
        """
        step += self._first
        chosen = self._order[step * self._pictures : (step + 1) * self._pictures]
        rng = np.random.default_rng((*self._key, step))
        how = self._preset.augmentation
        images = augment.mirror(self._split.images[chosen], self._mirrored[chosen])
        images = augment.change(images, how, rng)
        made = outliers.make(self._split.images, self._outliers, rng)
        images = np.concatenate([self._share.of(images), self._share.of(made)])
        images = augment.shrink(images, self.size)
        return images, self._targets(images, self._share.of(self._split.labels[chosen]))

    def _targets(
        self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        targets = np.full((len(images), self.classes), 1 / self.classes, np.float32)
        if self._teacher is not None and self._answer is not None:
            answers = self._answer(self._teacher.state, images[: len(labels)])
            targets[: len(labels)] = ops.convert_to_numpy(answers)
            return targets
        smoothing = self._preset.label_smoothing
        targets[: len(labels)] *= smoothing
        targets[np.arange(len(labels)), labels] += 1 - smoothing
        return targets


def feed(batches: Steps) -> Any:  # noqa: ANN401
    """The argument of `Model.fit` for these steps.

    With TensorFlow it is a pipeline without autotuning. The pipeline that Keras makes of a
    `PyDataset` has nothing to tune, but at the end of each epoch TensorFlow waits for the tuning
    thread to wake up: 82 s after the start of the epoch, then 142 s, and so on.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    size = batches.size
    signature = (
        tf.TensorSpec((None, size, size, 3), tf.uint8),
        tf.TensorSpec((None, batches.classes), tf.float32),
    )
    steps = tf.data.Dataset.from_generator(
        lambda: (batches[step] for step in range(len(batches))), output_signature=signature
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    known = tf.data.experimental.assert_cardinality(len(batches))
    return steps.apply(known).prefetch(QUEUED_STEPS).with_options(options)
