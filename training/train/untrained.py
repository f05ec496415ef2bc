"""The compiled network of a preset before its first step."""

import keras
from keras import ops

from training.data.dataset import DataSet
from training.presets import Preset
from training.train import backend, muon, network


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


def new_model(preset: Preset, data: DataSet, seed: int) -> keras.Model:
    """The compiled network of a preset, with initial weights for its first step."""
    backend.seed(seed)
    pixels = data.train.images.reshape(-1, 3)
    steps = preset.steps(len(data.train))
    total = preset.epochs * steps
    model = network.build(
        preset,
        len(data.classes),
        mean=pixels.mean(axis=0),
        variance=pixels.var(axis=0),
        # The default of Keras is 0.99. In a short run that average would still contain the first,
        # untrained steps, so it covers at most the last twentieth of the run.
        momentum=min(0.99, max(0.0, 1 - 20 / total)),
        policy=backend.dtype_policy(),
    )
    network.initialise(model, data.train.images)
    model.compile(
        _optimizer(preset, steps),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=[FamiliarAccuracy(name="accuracy")],
    )
    model.optimizer.build(model.trainable_variables)  # so that the first checkpoint is whole
    return model


def _optimizer(preset: Preset, steps: int) -> keras.Optimizer:
    total, warmup = preset.epochs * steps, round(preset.warmup_epochs * steps)
    if preset.optimizer == "muon":
        policy = keras.dtype_policies.get(backend.dtype_policy())
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
