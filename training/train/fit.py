"""Trains a preset in a run folder; an interrupted run can be resumed."""

import contextlib
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops
from tqdm import tqdm

from training.data.dataset import DataSet, Split
from training.errors import TrainingError
from training.presets import Preset
from training.train import backend, origin, parallel, teaching, untrained
from training.train.checkpoint import MEASURED, Run, Settings
from training.train.clock import Clock
from training.train.device_feed import source
from training.train.feed import Steps, feed, pictures_in_step
from training.train.parallel import Share
from training.train.sharpness import SharpnessAwareModel
from training.train.teaching import Teacher

SAVE_SECONDS = 60.0
SAVING = 0.05  # share of the time that saves after epochs may take
VALIDATION_BATCH = 500


def fit(
    preset: Preset,
    data: DataSet,
    folder: Path,
    *,
    seed: int = 0,
    resume: bool = False,
    devices: int = 1,
) -> keras.Model:
    """Train a preset, or resume an interrupted run.

    All randomness depends on (seed, epoch, step) only, so that on one machine and its CPU a resumed
    run gives the same weights as one that was not interrupted. On GPUs it need not: there the order
    of sums is not fixed.

    The run is saved at the ends of epochs, of very short ones not each time, and within an epoch
    once a minute. Of several processes the first one writes, and all read the folder where the run
    is resumed.

    Args:
        preset: what to train.
        data: the splits.
        folder: the run folder, created if missing; the run of a teacher has to be beside it.
        seed: of weights, order, augmentation and dropout.
        resume: continue the run in the folder, if there is one.
        devices: number of devices that share each batch.

    Returns:
        The trained model.

    Raises:
        TrainingError: the folder holds a run and `resume` is false, or a run with other settings,
            precision or number of devices; another process trains in it; the preset has a teacher
            that is not trained; or there are fewer devices, or they cannot share a batch.
    """
    backend.fix_order_of_sums()
    run = Run(folder)
    teacher = teaching.load(preset, data, folder, seed)
    with parallel.scope(devices) as share, contextlib.ExitStack() as stack:
        if share.index == 0:
            stack.enter_context(run.locked())
        share.check(*pictures_in_step(preset, data.train), halves=preset.sharpness_share > 0)
        settings = origin.settings(preset, data, seed, share.count * share.devices)
        started = run.checkpoint.exists()
        if started and not resume:
            raise TrainingError(
                f"{folder}: holds a run already; continue it with --resume, or choose another "
                "folder"
            )
        model = _resumed(run, settings) if started else untrained.new_model(preset, data, seed)
        saver = _Saver(run, model, share)
        parallel.meet(share)  # before the first process writes what the others look for
        if not started:
            saver.start(settings)
        _train(saver, preset, data, seed, teacher)
    return saver.model


class _Saver:
    """Saves a run from time to time.

    Attributes:
        model: that is trained.
        history: a row for each finished epoch.
        clock: measures the epochs.
        share: of this process, which saves where it is the first.
    """

    def __init__(self, run: Run, model: keras.Model, share: Share) -> None:
        self.model, self.share, self._run = model, share, run
        self.history = run.read_history()
        self.clock = Clock(run.clock)
        self._last, self._took = time.monotonic(), 0.0

    def start(self, settings: Settings) -> None:
        """Write a new run."""
        self.history = self.history.iloc[:0]
        if self.share.index == 0:
            self._run.folder.mkdir(parents=True, exist_ok=True)
            self._run.write_settings(settings)
        self.save()

    def save_within_epoch(self) -> None:
        """Save where the last time was a minute ago."""
        if time.monotonic() - self._last >= SAVE_SECONDS:
            self.save()

    def save_after_epoch(self) -> None:
        """Save where the last time was a minute ago, or long ago for what it took."""
        if time.monotonic() - self._last >= min(SAVE_SECONDS, self._took / SAVING):
            self.save()

    def save(self) -> None:
        """Save now."""
        begin = time.monotonic()
        if self.share.index == 0:
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()
            with parallel.alone():
                self._run.save(self.model, self.history)
            self.clock.save()
        self._last = time.monotonic()
        self._took = self._last - begin


def _train(
    saver: _Saver, preset: Preset, data: DataSet, seed: int, teacher: Teacher | None
) -> None:
    model, share = saver.model, saver.share
    steps = preset.steps(len(data.train))
    done, first = divmod(int(ops.convert_to_numpy(model.optimizer.iterations)), steps)
    make = source(preset, data.train, len(data.classes), seed, teacher, share)
    saver.clock.start(done)
    with tqdm(
        total=preset.epochs * steps, initial=done * steps + first, desc="fit", unit="step",
        mininterval=0.2 if sys.stderr.isatty() else 60, disable=share.index > 0,
    ) as bar:  # fmt: skip
        for epoch in range(done, preset.epochs):
            _seed_dropout(model, seed, epoch, first)
            if epoch and preset.size(epoch) != preset.size(epoch - 1):
                model.train_function = None  # compiled for the new size, as after a resumption
            if isinstance(model, SharpnessAwareModel):
                model.set_radius(preset.sharpness_radius_in(epoch))
            batches = make(epoch, first)
            first = 0
            progress = _Progress(bar, f"{epoch + 1}/{preset.epochs}", saver)
            is_measured = epoch + 1 == preset.epochs or (epoch + 1) % preset.validate_every == 0
            validation = data.validation if is_measured else None
            row = _train_epoch(model, batches, validation, epoch, progress)
            saver.history = pd.concat([saver.history, pd.DataFrame([row])], ignore_index=True)
            saver.clock.start(epoch + 1)
            if epoch + 1 == preset.epochs:
                saver.save()
            else:
                saver.save_after_epoch()


class _Progress(keras.callbacks.Callback):  # type: ignore[misc]
    """Advances one progress bar over the whole run, and saves it."""

    async_safe = True  # else JAX would wait for the end of each step

    def __init__(self, bar: "tqdm[Any]", epoch: str, saver: _Saver) -> None:
        super().__init__()
        self.bar, self.saver, self._epoch = bar, saver, epoch
        self._logs: dict[str, float] = {}

    def on_train_batch_begin(self, batch: int, logs: None = None) -> None:  # noqa: ARG002
        """Save after the step before where that is due; show the running means of the epoch."""
        if batch:
            self.saver.save_within_epoch()
        self.bar.update()
        if batch % 10 == 0 and self._logs:
            loss, accuracy = self._logs["loss"], self._logs["accuracy"]
            self.bar.set_postfix_str(
                f"epoch {self._epoch}, loss {loss:.3f}, accuracy {accuracy:.3f}", refresh=False
            )

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Keep the means, which may come later than the next steps begin."""
        self._logs = logs or {}


def _train_epoch(
    model: keras.Model, batches: Steps, validation: Split | None, epoch: int, progress: _Progress
) -> dict[str, float]:
    """Train for an epoch; returns its row of the history, with NaN for what is not measured."""
    classes, share = model.output_shape[-1], progress.saver.share
    measured = None
    if validation is not None:
        targets = keras.utils.to_categorical(validation.labels, classes)
        measured = share.even(validation.images), share.even(targets)
    part = VALIDATION_BATCH // share.count
    result = model.fit(
        feed(batches),
        epochs=epoch + 1,
        initial_epoch=epoch,
        validation_data=measured,
        validation_batch_size=part - part % share.devices,
        shuffle=False,  # Keras shuffles by state that is not in the checkpoint
        callbacks=[progress],
        verbose=0,
    ).history
    row = {name: float(result[name][-1]) for name in MEASURED if name in result}
    figures = "  ".join(f"{name} {value:.4f}" for name, value in row.items())
    if share.index == 0:
        progress.bar.write(f"epoch {epoch + 1:3d}  {figures}")
    row = dict.fromkeys(MEASURED, float("nan")) | row
    rate = float(ops.convert_to_numpy(model.optimizer.learning_rate))
    spent = progress.saver.clock.spent()
    return {
        "epoch": epoch + 1, **row, "learning_rate": rate,
        "seconds": spent.seconds, "processor_seconds": spent.processor_seconds,
    }  # fmt: skip


def _seed_dropout(model: keras.Model, seed: int, epoch: int, step: int) -> None:
    """Make dropout depend on (seed, epoch, step): checkpoints do not hold its state."""
    for position, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Dropout):
            state = np.random.SeedSequence((seed, epoch, position)).generate_state(2)
            layer.seed_generator.state.assign(state + np.array([0, step], np.uint32))


def _resumed(run: Run, settings: Settings) -> keras.Model:
    origin.check(run, settings)
    return keras.saving.load_model(run.checkpoint)
