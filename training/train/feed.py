"""The training steps: augmented pictures and their targets."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from training.data.dataset import Split
from training.presets import Preset
from training.train import augment, outliers

QUEUED_STEPS = 4


def steps_in_epoch(preset: Preset, split: Split) -> int:
    """Number of whole batches in a split; at least one, which may be smaller."""
    return max(1, len(split) // preset.batch_size)


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """The augmented steps of one epoch; equal arguments give equal steps.

    Only whole batches are used, so that all steps have one shape. The order is new in each epoch,
    so each picture is used in most epochs.

    Attributes:
        classes: number of classes.
        size: height and width of the pictures in pixels.
    """

    def __init__(
        self,
        preset: Preset,
        split: Split,
        classes: int,
        seed: int,
        epoch: int,
        teacher: keras.Model | None = None,
    ) -> None:
        """Draw the order of the epoch and the mirrored pictures.

        Args:
            preset: what is trained.
            split: the training pictures.
            classes: number of classes.
            seed: of the run.
            epoch: counted from 0.
            teacher: gives the targets in place of the labels.
        """
        super().__init__(workers=1, max_queue_size=QUEUED_STEPS)
        self._preset, self._split = preset, split
        self.classes, self.size = classes, preset.size(epoch)
        self._teacher = teacher
        self._key = (seed, epoch)
        self._pictures = min(preset.batch_size, len(split))
        rng = np.random.default_rng(self._key)
        self._order = rng.permutation(len(split))
        self._mirrored = np.zeros(len(split), np.bool_)
        if preset.augmentation.flip == "random":
            self._mirrored = rng.random(len(split)) < 0.5
        if preset.augmentation.flip == "alternating":
            half = np.random.default_rng(seed).random(len(split)) < 0.5
            self._mirrored = half ^ (epoch % 2 == 1)

    def __len__(self) -> int:
        """Number of steps in the epoch."""
        return steps_in_epoch(self._preset, self._split)

    def __getitem__(self, step: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Pictures uint8 (batch, size, size, 3) and targets float32 (batch, classes).

        A target holds the probability of each class; it is the same for all in outliers.
        """
        chosen = self._order[step * self._pictures : (step + 1) * self._pictures]
        rng = np.random.default_rng((*self._key, step))
        how = self._preset.augmentation
        images = augment.mirror(self._split.images[chosen], self._mirrored[chosen])
        images = augment.change(images, how, rng)
        made = outliers.make(self._split.images, round(how.outliers * len(chosen)), rng)
        images = augment.shrink(np.concatenate([images, made]), self.size)
        return images, self._targets(images, self._split.labels[chosen])

    def _targets(
        self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        targets = np.full((len(images), self.classes), 1 / self.classes, np.float32)
        if self._teacher is not None:
            scores = np.asarray(self._teacher.predict_on_batch(images[: len(labels)]))
            targets[: len(labels)] = softmax(scores, axis=1)
            return targets
        smoothing = self._preset.label_smoothing
        targets[: len(labels)] *= smoothing
        targets[np.arange(len(labels)), labels] += 1 - smoothing
        return targets


def feed(batches: Batches) -> Any:  # noqa: ANN401
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
