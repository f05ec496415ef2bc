"""Batches of fixed sizes (buckets), each with its own buffers on the device.

On a GPU each new batch size makes cuDNN choose its algorithms again, and a run without bound
buffers allocates device memory. So each batch is padded to the next size that was warmed up.
"""

import threading
from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

SIZES = (1, 2, 4, 8, 16, 32)

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Buckets:
    """Runs a session on bound buffers; one thread at a time."""

    def __init__(
        self,
        session: ort.InferenceSession,
        height: int,
        width: int,
        device: str,
        sizes: Sequence[int] = SIZES,
    ) -> None:
        """Allocates buffers on a device such as `cuda`, and runs each size once.

        The session takes `image` and returns `probabilities` and `energy`; the sizes ascend.
        """
        self._session = session
        self._lock = threading.Lock()
        (classes,) = (n.shape[1] for n in session.get_outputs() if n.name == "probabilities")
        self._buckets = [_Bucket(session, (n, height, width, 3), classes, device) for n in sizes]
        for bucket in self._buckets:
            bucket.run(session, bucket.staging)

    def run(self, images: Images) -> tuple[Floats, Floats]:
        """Computes one batch; one that is larger than the largest bucket is split."""
        largest = self._buckets[-1].size
        parts = [images[i : i + largest] for i in range(0, len(images), largest)]
        with self._lock:
            results = [self._run_one(part) for part in parts]
        if len(results) == 1:
            return results[0]
        probabilities, energies = zip(*results, strict=True)
        return np.concatenate(probabilities), np.concatenate(energies)

    def _run_one(self, images: Images) -> tuple[Floats, Floats]:
        bucket = next(bucket for bucket in self._buckets if bucket.size >= len(images))
        return bucket.run(self._session, images)


class _Bucket:
    """The buffers for batches of one size, bound to the session once."""

    def __init__(
        self,
        session: ort.InferenceSession,
        shape: tuple[int, int, int, int],
        classes: int,
        device: str,
    ) -> None:
        self.size = shape[0]
        self.staging = np.zeros(shape, np.uint8)
        self._input = _allocate(self.staging, device)
        self._outputs = (
            _allocate(np.zeros((self.size, classes), np.float32), device),
            _allocate(np.zeros(self.size, np.float32), device),
        )
        # If the session captures CUDA graphs, each size has its own.
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(self.size))
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("image", self._input)
        for name, value in zip(("probabilities", "energy"), self._outputs, strict=True):
            self._binding.bind_ortvalue_output(name, value)

    def run(self, session: ort.InferenceSession, images: Images) -> tuple[Floats, Floats]:
        """Computes at most `size` pictures; the rest of the buffers is ignored."""
        count = len(images)
        self.staging[:count] = images
        self._input.update_inplace(self.staging)
        session.run_with_iobinding(self._binding, self._options)
        probabilities, energies = (value.numpy()[:count].copy() for value in self._outputs)
        return probabilities, energies


def _allocate(values: NDArray[np.generic], device: str) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(values, device, 0)
