"""The ceilings without HTTP: decode, resize and infer in a loop; ONNX Runtime alone.

    python -m tests.benchmark.ceilings MODEL SECONDS

One process for each core, as the service computes. Prints one line of JSON: pictures a second by
batch size, and the milliseconds of a lone picture while nothing else runs.
"""

import itertools
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median

import numpy as np

from service.inference.classifier import Classifier
from service.inference.views import Decoded
from tests.benchmark.pictures import CIFAR10

BATCHES = (1, 8, 32)
BATCHES_OF_ONNX_RUNTIME = (1, 8, 32, 128)
WARM_UP_S = 0.5
BARRIER_TIMEOUT_S = 60


class Compute:
    """What the service does to pictures, by the very functions that it calls."""

    def __init__(self, model: Path) -> None:
        version = model.parent
        self.classifier = Classifier.open(
            version.parents[1],
            version.parent.name,
            int(version.name),
            variant=model.name,
            provider="cpu",
        )
        self._uploads = itertools.cycle([path.read_bytes() for path in CIFAR10.glob("*/*.jpg")])

    def decode(self, count: int) -> list[Decoded]:
        return [self.classifier.decode(data) for data in itertools.islice(self._uploads, count)]

    def classify(self, count: int) -> None:
        self.classifier.infer(self.decode(count))


def run_for(seconds: float, step: Callable[[], object]) -> list[float]:
    """Calls `step` again and again; returns the seconds that each call took."""
    end = time.perf_counter() + seconds
    times = [time.perf_counter()]
    while times[-1] < end:
        step()
        times.append(time.perf_counter())
    return list(np.diff(times))


def work(model: Path, seconds: float, barrier: Barrier, results: "Queue[float]") -> None:
    """One process: all batch sizes one after the other, in step with the other processes."""
    compute = Compute(model)

    def measure(batch: int, step: Callable[[], object]) -> None:
        run_for(WARM_UP_S, step)
        barrier.wait()
        took = run_for(seconds, step)
        results.put(batch * len(took) / sum(took))
        barrier.wait()

    for batch in BATCHES:
        measure(batch, partial(compute.classify, batch))
    for batch in BATCHES_OF_ONNX_RUNTIME:
        images = np.stack([picture.pixels for picture in compute.decode(batch)])
        measure(batch, partial(compute.classifier.engine.run, images))


def main() -> None:
    model, seconds = Path(sys.argv[1]), float(sys.argv[2])
    processes = len(os.sched_getaffinity(0))
    lone = Compute(model)
    run_for(WARM_UP_S, partial(lone.classify, 1))
    lone_ms = median(run_for(seconds, partial(lone.classify, 1))) * 1000

    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes + 1, timeout=BARRIER_TIMEOUT_S)
    results: Queue[float] = context.Queue()
    for _ in range(processes):
        arguments = (model, seconds, barrier, results)
        context.Process(target=work, args=arguments, daemon=True).start()

    def together() -> float:
        barrier.wait()
        barrier.wait()
        return sum(results.get() for _ in range(processes))

    compute = {batch: together() for batch in BATCHES}
    onnx_runtime = {batch: together() for batch in BATCHES_OF_ONNX_RUNTIME}
    print(json.dumps({"compute": compute, "onnx_runtime": onnx_runtime, "lone_ms": lone_ms}))


if __name__ == "__main__":
    main()
