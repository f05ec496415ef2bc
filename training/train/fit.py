"""Trains a preset in a run folder; an interrupted run can be resumed."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops
from tqdm import tqdm

from training import environment
from training.data.dataset import DataSet, Split
from training.errors import TrainingError
from training.presets import Preset
from training.train import distribute, muon, network
from training.train.checkpoint import MEASURED, Origin, Run, Settings
from training.train.feed import Batches, feed, steps_in_epoch


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

    Args:
        preset: what to train.
        data: the splits.
        folder: the run folder, created if missing; the run of a teacher has to be beside it.
        seed: of weights, order, augmentation and dropout.
        resume: continue the run in the folder, if there is one.
        devices: number of GPUs that share each batch.

    Returns:
        The trained model.

    Raises:
        TrainingError: the folder holds a run and `resume` is false, or a run with other settings,
            precision or number of devices; the preset has a teacher that is not trained; or there
            are fewer devices.
    """
    _fix_order_of_sums()
    run = Run(folder)
    settings = _settings(preset, data, seed, devices)
    teacher = _teacher(preset, data, folder, seed)
    if resume and run.checkpoint.exists():
        with distribute.scope(devices):
            model = _resumed(run, settings)
    elif run.checkpoint.exists():
        raise TrainingError(
            f"{folder}: holds a run already; continue it with --resume, or choose another folder"
        )
    else:
        with distribute.scope(devices):
            model = new_model(preset, data, seed)
        folder.mkdir(parents=True, exist_ok=True)
        run.write_settings(settings)
        run.save(model, run.read_history().iloc[:0])
    steps = steps_in_epoch(preset, data.train)
    done = int(model.optimizer.iterations.numpy()) // steps
    history = run.read_history().iloc[:done]
    with tqdm(
        total=preset.epochs * steps, initial=done * steps, desc="fit", unit="step",
        mininterval=0.2 if sys.stderr.isatty() else 60,
    ) as bar:  # fmt: skip
        for epoch in range(done, preset.epochs):
            _seed_dropout(model, seed, epoch)
            if epoch and preset.size(epoch) != preset.size(epoch - 1):
                model.train_function = None  # compiled for the new size, as after a resumption
            batches = Batches(preset, data.train, len(data.classes), seed, epoch, teacher)
            progress = _Progress(bar, f"{epoch + 1}/{preset.epochs}")
            is_measured = epoch + 1 == preset.epochs or (epoch + 1) % preset.validate_every == 0
            validation = data.validation if is_measured else None
            row = _train_epoch(model, batches, validation, epoch, progress)
            history = pd.concat([history, pd.DataFrame([row])], ignore_index=True)
            run.save(model, history)
    return model


@keras.saving.register_keras_serializable("cifar10-serve")
class FamiliarAccuracy(keras.metrics.Mean):  # type: ignore[misc]
    """Accuracy without the outliers, which have no right class."""

    def update_state(
        self,
        y_true: keras.KerasTensor,
        y_pred: keras.KerasTensor,
        sample_weight: None = None,  # noqa: ARG002 - part of the Keras signature
    ) -> None:
        """Add a batch of targets and logits, both (batch, classes)."""
        familiar = ops.max(y_true, axis=-1) > ops.min(y_true, axis=-1)
        correct = ops.equal(ops.argmax(y_true, axis=-1), ops.argmax(y_pred, axis=-1))
        super().update_state(correct, ops.cast(familiar, "float32"))


class _Progress(keras.callbacks.Callback):  # type: ignore[misc]
    """Advances one progress bar over the whole run."""

    def __init__(self, bar: "tqdm[Any]", epoch: str) -> None:
        super().__init__()
        self.bar, self._epoch = bar, epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Show the running means of the epoch."""
        logs = logs or {}
        self.bar.update()
        if batch % 10 == 0:
            self.bar.set_postfix_str(
                f"epoch {self._epoch}, loss {logs['loss']:.3f}, accuracy {logs['accuracy']:.3f}",
                refresh=False,
            )


def _train_epoch(
    model: keras.Model, batches: Batches, validation: Split | None, epoch: int, progress: _Progress
) -> dict[str, float]:
    """Train for an epoch; returns its row of the history, with NaN for what is not measured."""
    classes = model.output_shape[-1]
    measured = None
    if validation is not None:
        measured = validation.images, keras.utils.to_categorical(validation.labels, classes)
    start = time.perf_counter()
    result = model.fit(
        feed(batches),
        epochs=epoch + 1,
        initial_epoch=epoch,
        validation_data=measured,
        validation_batch_size=500,
        shuffle=False,  # Keras shuffles by state that is not in the checkpoint
        callbacks=[progress],
        verbose=0,
    ).history
    row = {name: float(result[name][-1]) for name in MEASURED if name in result}
    figures = "  ".join(f"{name} {value:.4f}" for name, value in row.items())
    progress.bar.write(f"epoch {epoch + 1:3d}  {figures}")
    row = dict.fromkeys(MEASURED, float("nan")) | row
    rate = float(model.optimizer.learning_rate.numpy())
    return {
        "epoch": epoch + 1, **row, "learning_rate": rate, "seconds": time.perf_counter() - start,
    }  # fmt: skip


def _fix_order_of_sums() -> None:
    """Let TensorFlow compute in a fixed order where that is cheap, which is without a GPU."""
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Make the dropout of an epoch depend on (seed, epoch): checkpoints do not hold its state."""
    for position, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Dropout):
            state = np.random.SeedSequence((seed, epoch, position)).generate_state(2)
            layer.seed_generator.state.assign(state)


def new_model(preset: Preset, data: DataSet, seed: int) -> keras.Model:
    """The compiled network of a preset, with initial weights for its first step."""
    keras.utils.set_random_seed(seed)
    pixels = data.train.images.reshape(-1, 3)
    steps = steps_in_epoch(preset, data.train)
    total = preset.epochs * steps
    model = network.build(
        preset,
        len(data.classes),
        mean=pixels.mean(axis=0),
        variance=pixels.var(axis=0),
        # The default of Keras is 0.99. In a short run that average would still contain the first,
        # untrained steps, so it covers at most the last twentieth of the run.
        momentum=min(0.99, max(0.0, 1 - 20 / total)),
        policy=environment.dtype_policy(),
    )
    network.initialise(model, data.train.images)
    model.compile(
        _optimizer(preset, steps),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=[FamiliarAccuracy(name="accuracy")],
    )
    model.optimizer.build(model.trainable_variables)  # so that the first checkpoint is whole
    return model


def _teacher(preset: Preset, data: DataSet, folder: Path, seed: int) -> keras.Model | None:
    if preset.teacher is None:
        return None
    run = Run(folder.parent / f"{preset.teacher}-seed{seed}")
    if not run.checkpoint.exists():
        raise TrainingError(
            f"{preset.name} has a teacher, and its run is not in {run.folder}; train it first: "
            f"python -m training fit {run.folder} --preset {preset.teacher} --seed {seed}"
        )
    settings = run.read_settings()
    trained, total = len(run.read_history()), settings.preset.epochs
    if settings.data != data.facts() or trained < total:
        raise TrainingError(
            f"{run.folder}: a teacher has to be trained to the end on the same data; this one has "
            f"{trained} of {total} epochs"
        )
    return keras.saving.load_model(run.checkpoint, compile=False)


def _optimizer(preset: Preset, steps: int) -> keras.Optimizer:
    total, warmup = preset.epochs * steps, round(preset.warmup_epochs * steps)
    if preset.optimizer == "muon":
        policy = keras.dtype_policies.get(environment.dtype_policy())
        precision = "float32" if preset.muon_precision == "float32" else policy.compute_dtype
        schedule = muon.Triangle(preset.learning_rate, warmup, total)
        return muon.optimizer(schedule, precision)
    return keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0,
            decay_steps=max(1, total - warmup),
            warmup_target=preset.learning_rate,
            warmup_steps=warmup,
        )
    )


def _resumed(run: Run, settings: Settings) -> keras.Model:
    before = run.read_settings()
    old, new = before.origin, settings.origin
    changed = [key for key in ("preset", "seed", "classes", "data")
               if getattr(before, key) != getattr(settings, key)]  # fmt: skip
    changed += [key for key in ("precision", "devices") if getattr(old, key) != getattr(new, key)]
    if changed:
        raise TrainingError(
            f"{run.folder}: cannot resume, the run was started with another {', '.join(changed)}"
        )
    parts = {"hardware": (old.hardware, new.hardware)} | {
        name: (old.libraries.get(name, "none"), new.libraries.get(name, "none"))
        for name in sorted(old.libraries | new.libraries)
    }
    epochs = len(run.read_history())
    others = [
        f"after epoch {epochs}: {name} {was} -> {now}"
        for name, (was, now) in parts.items()
        if was != now
    ]
    for other in (change for change in others if change not in before.changes):
        print(f"warning: resumed {other}; the weights will not be those of an uninterrupted run")
    if others:
        every = tuple(dict.fromkeys((*before.changes, *others)))
        run.write_settings(before.model_copy(update={"changes": every}))
    return keras.saving.load_model(run.checkpoint)


def _settings(preset: Preset, data: DataSet, seed: int, devices: int) -> Settings:
    return Settings(
        preset=preset,
        seed=seed,
        classes=data.classes,
        data=data.facts(),
        origin=Origin(
            date=datetime.now(UTC).date(),
            hardware=environment.hardware(),
            libraries=environment.libraries(),
            precision=environment.dtype_policy(),
            devices=devices,
        ),
    )
