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


def test_other_variables_are_trained_by_adam() -> None:
    bias = keras.Variable(np.zeros(4, np.float32))
    schedule = muon.Triangle(0.1, warmup=0, total=10)
    rate = muon.ADAM_SHARE * float(ops.convert_to_numpy(schedule(0)))
    optimizer = muon.optimizer(schedule)
    optimizer.build([bias])
    optimizer.apply([ops.convert_to_tensor(np.array([5, -5, 0.1, 0], np.float32))], [bias])
    # The first step of Adam has the size of the learning rate, whatever the gradient.
    np.testing.assert_allclose(bias.numpy(), [-rate, rate, -rate, 0], rtol=1e-4)
