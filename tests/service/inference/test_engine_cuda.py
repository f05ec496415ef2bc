"""Buckets, with the real ONNX Runtime on the CPU."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from service.inference.engine_cuda import Buckets

SIZES = (1, 4)


class Counting:
    """A session that keeps the graph id of each batch: the size of its bucket."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self.graphs: list[str] = []
        self.get_outputs = session.get_outputs
        self.io_binding = session.io_binding

    def run_with_iobinding(self, binding: ort.IOBinding, options: ort.RunOptions) -> None:
        self.graphs.append(options.get_run_config_entry("gpu_graph_id"))
        self._session.run_with_iobinding(binding, options)


@pytest.fixture
def session(tiny_models: Path) -> ort.InferenceSession:
    model = (tiny_models / "tiny/1/model.onnx").read_bytes()
    return ort.InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9])
def test_answers_are_those_of_the_session(session: ort.InferenceSession, count: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, 8, 8, 3), np.uint8)
    buckets = Buckets(session, 8, 8, "cpu", SIZES)
    buckets.run(np.full((4, 8, 8, 3), 255, np.uint8))  # its rest must not show in later answers
    probabilities, energies = buckets.run(images)
    expected = session.run(["probabilities", "energy"], {"image": images})
    np.testing.assert_allclose(probabilities, expected[0], atol=1e-6)
    np.testing.assert_allclose(energies, expected[1], atol=1e-5)


def test_answer_stays_when_the_next_batch_is_computed(session: ort.InferenceSession) -> None:
    buckets = Buckets(session, 8, 8, "cpu", SIZES)
    first = buckets.run(np.zeros((1, 8, 8, 3), np.uint8))
    kept = [array.copy() for array in first]
    buckets.run(np.full((1, 8, 8, 3), (255, 0, 0), np.uint8))
    for array, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_each_size_is_warmed_up_and_large_batches_are_split(
    session: ort.InferenceSession,
) -> None:
    counting = Counting(session)
    buckets = Buckets(counting, 8, 8, "cpu", SIZES)
    assert counting.graphs == ["1", "4"]
    buckets.run(np.zeros((9, 8, 8, 3), np.uint8))
    assert counting.graphs[2:] == ["4", "4", "1"]
