import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from tests.training.train import sharp_step, small
from tests.training.train.test_backend import JAX, TORCH
from training.train import muon, sharpness
from training.train.sharpness import SharpnessAwareModel


def test_step_goes_along_the_gradient_of_the_weights_nearby() -> None:
    sharp_step.check()


@pytest.mark.parametrize("name", [JAX, TORCH])
def test_step_is_the_same_under_other_backends(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.train.sharp_step"],
        env=small.variables(name), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == name


def test_radius_changes_between_epochs() -> None:
    inputs = keras.Input((3,))
    model = SharpnessAwareModel(inputs, keras.layers.Dense(2)(inputs))
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    x, y = keras.ops.ones((8, 3)), keras.ops.ones((8, 2)) / 2
    functions: list[object] = []
    for radius in (0.0, 0.0, 0.1):
        model.set_radius(radius)
        model.train_on_batch(x, y)
        functions.append(model.train_function)
    assert functions[0] is functions[1]
    assert functions[2] is not functions[1]


def test_step_of_muon_is_nearly_that_from_the_weights_themselves() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 6, 6, 3)).astype(np.float32)
    y = np.eye(4, dtype=np.float32)[rng.integers(4, size=8)]
    inputs = keras.Input((6, 6, 3))
    kernel = keras.layers.Conv2D(4, 3, use_bias=False)
    normalised = keras.layers.BatchNormalization(scale=False)(kernel(inputs))
    model = SharpnessAwareModel(inputs, keras.layers.GlobalMaxPooling2D()(normalised))
    schedule = muon.Triangle(0.1, warmup=0, total=10)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(muon.optimizer(schedule), loss)
    scaled = kernel.kernel * (2.0 / ops.norm(ops.reshape(kernel.kernel, -1)))  # as after a step
    kernel.kernel.assign(scaled)
    before = [ops.copy(variable) for variable in model.trainable_variables]

    def gradients(rows: slice) -> list[keras.KerasTensor]:
        return sharpness._gradients(model, x[rows], y[rows])

    radius = 0.02  # of a norm of 2: as much as 0.4 is in the network of `default`
    ascent = gradients(sharpness.ASCENT_ROWS)
    norm = sum(float(ops.sum(gradient**2)) for gradient in ascent) ** 0.5
    for variable, gradient in zip(model.trainable_variables, ascent, strict=True):
        variable.assign_add(gradient * radius / norm)
    nearby = gradients(slice(None))
    for variable, value in zip(model.trainable_variables, before, strict=True):
        variable.assign(value)
    muon.optimizer(schedule).apply(nearby, model.trainable_variables)
    exact = ops.convert_to_numpy(kernel.kernel)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        variable.assign(value)
    model.set_radius(radius)
    model.train_on_batch(x, y)
    found, start = (ops.convert_to_numpy(value) for value in (kernel.kernel, scaled))
    assert np.linalg.norm(found - exact) < 0.02 * np.linalg.norm(exact - start)
