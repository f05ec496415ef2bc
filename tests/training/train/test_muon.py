import keras
import numpy as np
from keras import ops

from training.train import muon


def test_triangle_rises_to_its_peak_and_falls_to_nearly_nothing() -> None:
    schedule = muon.Triangle(0.5, warmup=10, total=100)
    rates = np.array([float(ops.convert_to_numpy(schedule(step))) for step in range(100)])
    assert rates.argmax() == 9
    np.testing.assert_allclose(rates[9], 0.5, rtol=1e-6)
    assert (np.diff(rates[:10]) > 0).all()
    assert (np.diff(rates[9:]) < 0).all()
    assert 0 < rates[-1] < 0.01


def test_step_of_a_kernel_is_orthogonal_and_relative_to_its_norm() -> None:
    rng = np.random.default_rng(0)
    kernel = keras.Variable(rng.standard_normal((3, 3, 8, 4)).astype(np.float32))
    before = kernel.numpy()
    optimizer = muon.optimizer(muon.Triangle(0.1, warmup=0, total=10))
    optimizer.build([kernel])
    gradient = rng.standard_normal(kernel.shape).astype(np.float32)
    optimizer.apply([ops.convert_to_tensor(gradient)], [kernel])
    scaled = before * (2.0 / np.linalg.norm(before))  # to the square root of four filters
    step = (scaled - kernel.numpy()).reshape(-1, 4) / 0.1
    np.testing.assert_allclose(step.T @ step, np.eye(4), atol=0.5)  # three steps: roughly
    assert np.linalg.norm(step) > 1.5


def test_step_in_bfloat16_is_nearly_that_in_float32() -> None:
    rng = np.random.default_rng(0)
    before = rng.standard_normal((3, 3, 64, 96)).astype(np.float32)
    gradient = rng.standard_normal(before.shape).astype(np.float32) * 1e-4
    steps = {}
    for precision in ("float32", "bfloat16"):
        kernel = keras.Variable(before)
        optimizer = muon.optimizer(muon.Triangle(0.1, warmup=0, total=10), precision)
        optimizer.build([kernel])
        optimizer.apply([ops.convert_to_tensor(gradient)], [kernel])
        steps[precision] = kernel.numpy() - before * (96**0.5 / np.linalg.norm(before))
    norm = np.linalg.norm(steps["float32"])
    assert norm > 0.1
    assert np.linalg.norm(steps["bfloat16"] - steps["float32"]) < 0.05 * norm


def test_precision_is_in_the_checkpoint() -> None:
    made = muon.optimizer(muon.Triangle(0.1, warmup=0, total=10), "bfloat16")
    again = keras.optimizers.deserialize(keras.optimizers.serialize(made))
    assert again.precision == "bfloat16"
    config = made.get_config()
    del config["precision"]  # as in older checkpoints
    assert muon.ConvolutionMuon.from_config(config).precision == "float32"


def test_other_variables_are_trained_by_adam() -> None:
    bias = keras.Variable(np.zeros(4, np.float32))
    schedule = muon.Triangle(0.1, warmup=0, total=10)
    rate = muon.ADAM_SHARE * float(ops.convert_to_numpy(schedule(0)))
    optimizer = muon.optimizer(schedule)
    optimizer.build([bias])
    optimizer.apply([ops.convert_to_tensor(np.array([5, -5, 0.1, 0], np.float32))], [bias])
    # The first step of Adam has the size of the learning rate, whatever the gradient.
    np.testing.assert_allclose(bias.numpy(), [-rate, rate, -rate, 0], rtol=1e-4)
