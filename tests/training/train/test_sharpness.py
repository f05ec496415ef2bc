import subprocess
import sys

import keras
import pytest

from tests.training.train import sharp_step, small
from tests.training.train.test_backend import JAX, TORCH
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
