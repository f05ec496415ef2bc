"""Targets that a trained network gives (distillation)."""

from pathlib import Path
from typing import Any

import keras
from keras import ops

from training.data.dataset import DataSet
from training.errors import TrainingError
from training.presets import Preset
from training.train.checkpoint import Run

Tensor = Any  # of the backend


class Teacher:
    """A trained network that is not trained any further.

    Attributes:
        state: its variables, as `targets` takes them; compiled functions take them as arguments.
    """

    def __init__(self, model: keras.Model) -> None:
        """Take a network from uint8 pictures to logits."""
        self._model = model
        self.state = tuple(
            [variable.value for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        )

    def targets(self, state: tuple[list[Tensor], ...], images: Tensor) -> Tensor:
        """The probabilities (batch, classes) of pictures uint8 (batch, size, size, 3)."""
        logits, _ = self._model.stateless_call(*state, images, training=False)
        return ops.softmax(ops.cast(logits, "float32"), axis=-1)


def load(preset: Preset, data: DataSet, folder: Path, seed: int) -> Teacher | None:
    """The teacher of a preset, from the run beside a run folder.

    Raises:
        TrainingError: it is not trained, or on other data.
    """
    if preset.teacher is None:
        return None
    run = Run(folder.parent / f"{preset.teacher}-seed{seed}")
    if not run.checkpoint.exists():
        raise TrainingError(
            f"{preset.name} has a teacher, and its run is not in {run.folder}; train it first: "
            f"python -m training fit {run.folder} --preset {preset.teacher} --seed {seed}"
        )
    settings = run.read_settings()
    if settings.data != data.facts() or not run.is_finished():
        raise TrainingError(
            f"{run.folder}: a teacher has to be trained to the end on the same data; this one has "
            f"{run.epochs()} of {settings.preset.epochs} epochs"
        )
    return Teacher(keras.saving.load_model(run.checkpoint, compile=False))
