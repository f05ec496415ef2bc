"""Training: a run folder that can be killed at any moment and gone on with."""

import json
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
from training.train.checkpoint import Run, write_whole
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
    """Train a preset, or go on with a run that was interrupted.

    Everything random is drawn from (seed, epoch, step), so that an interrupted run ends as an
    uninterrupted one does.

    Args:
        preset: what to train.
        data: the splits.
        folder: the run folder, made if missing; the run of a teacher is looked for beside it.
        seed: of weights, order, augmentation and dropout.
        resume: go on with the run in the folder.
        devices: GPUs that share each batch.

    Returns:
        The trained model.

    Raises:
        TrainingError: the folder holds a run and `resume` was not asked for, or holds a run
            with other settings; or the preset has a teacher, and that has not been trained; or
            there are fewer devices.
    """
    run = Run(folder)
    settings = _settings(preset, data, seed)
    teacher = _teacher(preset, data, folder, seed)
    if resume and run.checkpoint.exists():
        with distribute.scope(devices):
            model = _resumed(run, settings)
    elif run.checkpoint.exists():
        raise TrainingError(
            f"{folder}: holds a run already; go on with it by --resume, or choose another folder"
        )
    else:
        with distribute.scope(devices):
            model = _fresh(preset, data, seed)
        folder.mkdir(parents=True, exist_ok=True)
        origin = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "hardware": environment.hardware(),
            "libraries": environment.libraries(),
            "precision": environment.dtype_policy(),
            "devices": devices,
        }
        text = json.dumps(settings | {"origin": origin}, indent=1)
        write_whole(run.settings, lambda path: path.write_text(text))
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
            row = _train_epoch(model, batches, data.validation, epoch, progress)
            history = pd.concat([history, pd.DataFrame([row])], ignore_index=True)
            run.save(model, history)
    return model


@keras.saving.register_keras_serializable("cifar10-serve")
class FamiliarAccuracy(keras.metrics.Mean):  # type: ignore[misc]
    """Accuracy without the outliers, which have no class that could be right."""

    def update_state(
        self,
        y_true: keras.KerasTensor,
        y_pred: keras.KerasTensor,
        sample_weight: None = None,  # noqa: ARG002 - of Keras' signature
    ) -> None:
        """Take in a batch of targets and logits, both (batch, classes)."""
        familiar = ops.max(y_true, axis=-1) > ops.min(y_true, axis=-1)
        correct = ops.equal(ops.argmax(y_true, axis=-1), ops.argmax(y_pred, axis=-1))
        super().update_state(correct, ops.cast(familiar, "float32"))


class _Progress(keras.callbacks.Callback):  # type: ignore[misc]
    """Moves one bar over the whole run, so that it shows the time left of the whole run."""

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
    model: keras.Model, batches: Batches, validation: Split, epoch: int, progress: _Progress
) -> dict[str, float]:
    classes = model.output_shape[-1]
    start = time.perf_counter()
    result = model.fit(
        feed(batches),
        epochs=epoch + 1,
        initial_epoch=epoch,
        validation_data=(validation.images, keras.utils.to_categorical(validation.labels, classes)),
        validation_batch_size=500,
        shuffle=False,  # Keras would shuffle the steps by state that no checkpoint holds
        callbacks=[progress],
        verbose=0,
    ).history
    row = {name: float(values[-1]) for name, values in result.items()}
    progress.bar.write(
        f"epoch {epoch + 1:3d}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
        f"val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.4f}"
    )
    rate = float(model.optimizer.learning_rate.numpy())
    return {
        "epoch": epoch + 1, **row, "learning_rate": rate, "seconds": time.perf_counter() - start,
    }  # fmt: skip


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Make the epoch's dropout a function of (seed, epoch): checkpoints do not hold its state."""
    for position, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Dropout):
            state = np.random.SeedSequence((seed, epoch, position)).generate_state(2)
            layer.seed_generator.state.assign(state)


def _fresh(preset: Preset, data: DataSet, seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    pixels = data.train.images.reshape(-1, 3)
    steps = steps_in_epoch(preset, data.train)
    total = preset.epochs * steps
    model = network.build(
        preset,
        len(data.classes),
        mean=pixels.mean(axis=0),
        variance=pixels.var(axis=0),
        # Keras' 0.99, but never an average over more than the last twentieth of the run: after a
        # hundred steps it would still be that of the first, untrained ones.
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
            f"{preset.name} is taught by another network, which is not in {run.folder}; train it "
            f"first: python -m training fit {run.folder} --preset {preset.teacher} --seed {seed}"
        )
    trained, total = len(run.read_history()), run.read_settings()["preset"]["epochs"]
    if run.read_settings()["data"] != _settings(preset, data, seed)["data"] or trained < total:
        raise TrainingError(
            f"{run.folder}: a teacher must be trained to its end, on the same data; it has "
            f"{trained} of {total} epochs"
        )
    return keras.saving.load_model(run.checkpoint, compile=False)


def _optimizer(preset: Preset, steps: int) -> keras.Optimizer:
    total, warmup = preset.epochs * steps, round(preset.warmup_epochs * steps)
    if preset.optimizer == "muon":
        return muon.optimizer(muon.Triangle(preset.learning_rate, warmup, total))
    return keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0,
            decay_steps=max(1, total - warmup),
            warmup_target=preset.learning_rate,
            warmup_steps=warmup,
        )
    )


def _resumed(run: Run, settings: dict[str, Any]) -> keras.Model:
    before = run.read_settings()
    changed = [key for key in settings if before[key] != settings[key]]
    if changed:
        raise TrainingError(
            f"{run.folder}: cannot resume, the run was started with another {', '.join(changed)}"
        )
    return keras.saving.load_model(run.checkpoint)


def _settings(preset: Preset, data: DataSet, seed: int) -> dict[str, Any]:
    return {
        "preset": preset.to_json(),
        "seed": seed,
        "classes": list(data.classes),
        "data": {
            "source": data.source,
            "fingerprint": data.fingerprint,
            "train": len(data.train),
            "validation": len(data.validation),
        },
    }
