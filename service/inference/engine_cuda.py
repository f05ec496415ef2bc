"""Batches of fixed sizes (buckets), each with its own buffers on the device.

On a GPU each new batch size makes cuDNN choose its algorithms again, and a run without bound
buffers allocates device memory. So each batch is padded to the next size that was warmed up. There
are two sets of buffers: one batch is copied to the device, or its answers from there, while the
device computes another.
"""

import functools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

_SETS = 2

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]


def sizes_for(max_batch: int) -> list[int]:
    """The sizes of buckets: the powers of two below the largest batch, and that one."""
    powers = (2**n for n in range(max_batch.bit_length()))
    return [*(size for size in powers if size < max_batch), max_batch]


class Buckets:
    """Runs a session on bound buffers; several threads may call it."""

    def __init__(
        self,
        session: ort.InferenceSession,
        height: int,
        width: int,
        device: str,
        max_batch: int,
        *,
        graphs: bool = False,
    ) -> None:
        """Allocates buffers on a device such as `cuda`, and runs each size once.

        The session takes `image` and returns `probabilities` and `energy`; `graphs` says whether
        it captures CUDA graphs.
        """
        self._session = session
        self._compute = _in_one_thread(device) if graphs else _in_turn(device)
        self._copying = _copying(device)
        self._free: queue.SimpleQueue[list[_Bucket]] = queue.SimpleQueue()
        self._largest = max_batch
        (classes,) = (n.shape[1] for n in session.get_outputs() if n.name == "probabilities")
        for number in range(_SETS):
            graph = number * (max_batch + 1)
            buckets = [
                _Bucket(session, (size, height, width, 3), classes, device, str(graph + size))
                for size in sizes_for(max_batch)
            ]
            for bucket in buckets:
                self._compute(functools.partial(self._warm_up, bucket))
            self._free.put(buckets)

    def run(self, images: Images) -> tuple[Floats, Floats]:
        """Computes one batch; one that is larger than the largest bucket is split."""
        parts = [images[i : i + self._largest] for i in range(0, len(images), self._largest)]
        results = [self._run_one(part) for part in parts]
        if len(results) == 1:
            return results[0]
        probabilities, energies = zip(*results, strict=True)
        return np.concatenate(probabilities), np.concatenate(energies)

    def _run_one(self, images: Images) -> tuple[Floats, Floats]:
        buckets = self._free.get()
        try:
            bucket = next(bucket for bucket in buckets if bucket.size >= len(images))
            with self._copying:
                bucket.write(images)
            self._compute(functools.partial(bucket.run, self._session))
            with self._copying:
                return bucket.read(len(images))
        finally:
            self._free.put(buckets)

    def _warm_up(self, bucket: "_Bucket") -> None:
        with self._copying:
            bucket.run(self._session)


@functools.cache
def _in_turn(_device: str) -> Callable[[Callable[[], None]], None]:
    """Lets a device compute one batch at a time, in the thread that has prepared it.

    On an NVIDIA H200, batches that were handed to another thread and back took 0.25 ms longer than
    plain runs of the session, which took 0.45 ms.
    """
    turn = threading.Lock()

    def compute(run: Callable[[], None]) -> None:
        with turn:
            run()

    return compute


@functools.cache
def _in_one_thread(device: str) -> Callable[[Callable[[], None]], None]:
    """Lets one thread compute on a device: CUDA graphs are only known where they were captured."""
    thread = ThreadPoolExecutor(1, thread_name_prefix=f"inference-{device}")
    return lambda run: thread.submit(run).result()


@functools.cache
def _copying(_device: str) -> threading.Lock:
    """Held while something is copied to or from a device, and while a size is warmed up there.

    A CUDA graph may be captured then, which fails, as the copy does, if another thread copies: with
    this model that is being loaded the one that is served would fail.
    """
    return threading.Lock()


class _Bucket:
    """The buffers for batches of one size, bound to the session once."""

    def __init__(
        self,
        session: ort.InferenceSession,
        shape: tuple[int, int, int, int],
        classes: int,
        device: str,
        graph: str,
    ) -> None:
        self.size = shape[0]
        # Pageable memory: ONNX Runtime's Python API (1.31) has no pinned one.
        self._staging = np.zeros(shape, np.uint8)
        self._input = _allocate(self._staging, device)
        self._outputs = (
            _allocate(np.zeros((self.size, classes), np.float32), device),
            _allocate(np.zeros(self.size, np.float32), device),
        )
        # If the session captures CUDA graphs, each size of each set has its own.
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", graph)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("image", self._input)
        for name, value in zip(("probabilities", "energy"), self._outputs, strict=True):
            self._binding.bind_ortvalue_output(name, value)

    def write(self, images: Images) -> None:
        """Copies at most `size` pictures to the device; the rest of the buffer is ignored."""
        self._staging[: len(images)] = images
        self._input.update_inplace(self._staging)

    def run(self, session: ort.InferenceSession) -> None:
        """Computes what was written."""
        session.run_with_iobinding(self._binding, self._options)

    def read(self, count: int) -> tuple[Floats, Floats]:
        """Copies the answers for the first pictures from the device."""
        probabilities, energies = (value.numpy()[:count].copy() for value in self._outputs)
        return probabilities, energies


def _allocate(values: NDArray[np.generic], device: str) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(values, device, 0)
