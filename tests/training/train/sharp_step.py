"""One sharpness-aware step of a small model, against its formula in NumPy."""

import keras
import numpy as np
import numpy.typing as npt

from training.train.sharpness import ASCENT_ROWS, SharpnessAwareModel

RADIUS, RATE, MOMENTUM = 0.7, 0.1, 0.9


def check() -> None:
    """Compare weights and moving statistics after a step under the backend of this process."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 3)).astype(np.float32)
    y = np.eye(2, dtype=np.float32)[rng.integers(2, size=8)]
    inputs = keras.Input((3,))
    layer = keras.layers.Dense(2)
    normalise = keras.layers.BatchNormalization(momentum=MOMENTUM, center=False, scale=False)
    logits = layer(inputs)
    unused = keras.layers.Rescaling(0.0)(normalise(logits))  # it has moving statistics
    model = SharpnessAwareModel(inputs, keras.layers.Add()([logits, unused]))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE), loss)
    before = [np.asarray(keras.ops.convert_to_numpy(value)) for value in layer.weights]
    start = model.get_weights()
    model.train_on_batch(x, y)  # an ordinary step, which is compiled
    model.set_weights(start)
    model.set_radius(RADIUS)
    model.train_on_batch(x, y)
    gradients = _gradients(x[ASCENT_ROWS], y[ASCENT_ROWS], *before)
    norm = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients))
    nearby = [value + RADIUS / norm * step for value, step in zip(before, gradients, strict=True)]
    steps = _gradients(x, y, *nearby)
    for found, value, step in zip(layer.weights, before, steps, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(found), value - RATE * step, atol=1e-6
        )
    mean = (x[ASCENT_ROWS] @ before[0] + before[1]).mean(0) * (1 - MOMENTUM)
    moving = keras.ops.convert_to_numpy(normalise.moving_mean)
    np.testing.assert_allclose(moving, mean, atol=1e-6)


def _gradients(
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.float32],
    kernel: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
) -> list[npt.NDArray[np.float32]]:
    """Of the mean cross-entropy of logistic regression."""
    logits = np.exp(x @ kernel + bias)
    wrong = (logits / logits.sum(1, keepdims=True) - y) / len(x)
    return [x.T @ wrong, wrong.sum(0)]


if __name__ == "__main__":
    check()
    print(keras.backend.backend())
