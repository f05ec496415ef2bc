"""Buckets, with the real ONNX Runtime on the CPU."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from service.inference import engine_cuda
from service.inference.engine_cuda import Buckets, Images, sizes_for

LARGEST = 4


class Counting:
    """A session that keeps the graph id and the thread of each batch, and waits for `go`.

    Attributes:
        together: most batches that were computed at once.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self.graphs: list[str] = []
        self.threads: set[int] = set()
        self.together = self._running = 0
        self.go = threading.Event()
        self.go.set()
        self.get_outputs = session.get_outputs
        self.io_binding = session.io_binding

    def run_with_iobinding(self, binding: ort.IOBinding, options: ort.RunOptions) -> None:
        self.graphs.append(options.get_run_config_entry("gpu_graph_id"))
        self.threads.add(threading.get_ident())
        self._running += 1
        self.together = max(self.together, self._running)
        assert self.go.wait(10)
        self._session.run_with_iobinding(binding, options)
        self._running -= 1


@pytest.fixture
def session(tiny_models: Path) -> ort.InferenceSession:
    model = (tiny_models / "tiny/1/model.onnx").read_bytes()
    return ort.InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9])
def test_answers_are_those_of_the_session(session: ort.InferenceSession, count: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, 8, 8, 3), np.uint8)
    buckets = Buckets(session, 8, 8, "cpu", LARGEST)
    buckets.run(np.full((4, 8, 8, 3), 255, np.uint8))  # its rest must not show in later answers
    probabilities, energies = buckets.run(images)
    expected = session.run(["probabilities", "energy"], {"image": images})
    np.testing.assert_allclose(probabilities, expected[0], atol=1e-6)
    np.testing.assert_allclose(energies, expected[1], atol=1e-5)


def test_answer_stays_when_the_next_batch_is_computed(session: ort.InferenceSession) -> None:
    buckets = Buckets(session, 8, 8, "cpu", LARGEST)
    first = buckets.run(np.zeros((1, 8, 8, 3), np.uint8))
    kept = [array.copy() for array in first]
    buckets.run(np.full((1, 8, 8, 3), (255, 0, 0), np.uint8))
    for array, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_each_size_is_warmed_up_and_large_batches_are_split(
    session: ort.InferenceSession,
) -> None:
    counting = Counting(session)
    buckets = Buckets(counting, 8, 8, "cpu", LARGEST)
    # Each of the two sets of buffers has graphs of its own.
    assert counting.graphs == ["1", "2", "4", "6", "7", "9"]
    buckets.run(np.zeros((9, 8, 8, 3), np.uint8))
    assert counting.graphs[6:] == ["4", "9", "1"]


@pytest.mark.parametrize(
    ("max_batch", "sizes"),
    [(1, [1]), (4, [1, 2, 4]), (24, [1, 2, 4, 8, 16, 24]), (64, [1, 2, 4, 8, 16, 32, 64])],
)
def test_sizes_derive_from_the_largest_batch(max_batch: int, sizes: list[int]) -> None:
    assert sizes_for(max_batch) == sizes


@pytest.mark.parametrize("graphs", [True, False])
def test_next_batch_is_copied_while_the_device_computes(
    session: ort.InferenceSession, monkeypatch: pytest.MonkeyPatch, graphs: bool
) -> None:
    copied: list[int] = []

    def write(bucket: engine_cuda._Bucket, images: Images) -> None:
        write_really(bucket, images)
        copied.append(len(images))

    write_really = engine_cuda._Bucket.write
    monkeypatch.setattr(engine_cuda._Bucket, "write", write)
    counting = Counting(session)
    buckets = Buckets(counting, 8, 8, "cpu", LARGEST, graphs=graphs)
    images = [np.full((4, 8, 8, 3), value, np.uint8) for value in (0, 100, 200, 250)]
    expected = [buckets.run(one)[1] for one in images]
    copied.clear()
    counting.go.clear()
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(buckets.run, one) for one in images]
        while len(copied) < 2:
            time.sleep(0.001)
        time.sleep(0.05)
        assert len(copied) == 2  # there are no more buffers
        counting.go.set()
        for answer, energies in zip(answers, expected, strict=True):
            np.testing.assert_array_equal(answer.result()[1], energies)
    assert counting.together == 1
    # CUDA graphs are only known in the thread that captured them.
    assert (len(counting.threads) == 1) == graphs


def test_nothing_is_copied_while_another_model_is_warmed_up(
    session: ort.InferenceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CUDA graph may be captured then, and a copy by another thread would break it."""
    copied = threading.Event()

    def write(bucket: engine_cuda._Bucket, images: Images) -> None:
        copied.set()
        write_really(bucket, images)

    write_really = engine_cuda._Bucket.write
    monkeypatch.setattr(engine_cuda._Bucket, "write", write)
    served, loaded = Buckets(session, 8, 8, "cpu", LARGEST), Counting(session)
    loaded.go.clear()
    with ThreadPoolExecutor(2) as pool:
        loading = pool.submit(Buckets, loaded, 8, 8, "cpu", LARGEST)
        while not loaded.graphs:
            time.sleep(0.001)
        answer = pool.submit(served.run, np.zeros((1, 8, 8, 3), np.uint8))
        assert not copied.wait(0.1)
        loaded.go.set()
        loading.result()
        answer.result()
    assert copied.is_set()
