"""`make gpu-check`: is this machine's GPU really used, does it answer as the CPU does, how fast?

    python -m tests.benchmark.gpu_check [--provider cuda]

Takes the model that the settings name (the newest of `models/cifar10` by default) and exits with 1
where CUDA cannot be used or the answers differ. It also prints how much memory a change of model
takes. With `--provider cpu` the same is done without a GPU, to test this program.
"""

import argparse
import sys
import time
from typing import Literal

import numpy as np

from service.errors import StartupError
from service.hardware import nvidia_driver_visible
from service.inference import repository
from service.inference.engine import (
    CPU,
    CUDA,
    OnnxEngine,
    open_engine,
    preferred_precision,
)
from service.inference.engine_cuda import Images
from service.settings import Settings
from tests.benchmark import change_memory

# Recent GPUs multiply in TF32, with 10 bits of mantissa: answers agree to about two decimals.
TOLERANCE = 0.01
COMPARED = 1_000
BATCHES = (1, 8, 32)
RUNS = 200


def main() -> int:
    """Prints what it finds; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.gpu_check")
    parser.add_argument("--provider", choices=("cuda", "cpu"), default="cuda", help="what to check")
    provider: Literal["cuda", "cpu"] = parser.parse_args().provider
    is_cuda = provider == "cuda"
    if is_cuda and not nvidia_driver_visible():
        return _fail("no NVIDIA driver is visible on this machine, so there is no GPU to check")
    settings = Settings()
    try:
        stored = repository.load(settings.models, settings.model, settings.version)
        # The same file for both: by default the one that the service takes on CUDA.
        precision = preferred_precision(CUDA if is_cuda else CPU)
        chosen = repository.choose(stored, settings.variant, precision)
        model = repository.read(stored, chosen)
        cuda = open_engine(lambda _: model, provider=provider, require_cuda=is_cuda)
        cpu = open_engine(lambda _: model, provider="cpu")
    except StartupError as error:
        return _fail(str(error))
    print(f"{stored.folder / chosen}: an inference ran on {cuda.provider}")
    images = _noise(COMPARED, cuda)
    difference = _difference(cuda, cpu, images)
    print(f"largest difference from the CPU's probabilities, {COMPARED} pictures: {difference:.1e}")
    print("(the CPU on one thread, as the service computes)")
    print("batch  provider               median ms  p99 ms  pictures/s")
    for batch in BATCHES:
        for engine in (cuda, cpu):
            median, p99 = np.percentile(_latencies(engine, images[:batch]), (50, 99)) * 1000
            speed = f"{median:9.2f}  {p99:6.2f}  {batch / median * 1000:10.0f}"
            print(f"{batch:5}  {engine.provider:21}  {speed}")
    update = {"provider": provider, "require_cuda": is_cuda, "variant": chosen}
    before, most, after = change_memory.change(stored, settings.model_copy(update=update))
    print(f"memory with the model: {before}; while it is changed: {most}; afterwards: {after}")
    if difference > TOLERANCE:
        return _fail(f"the answers differ by more than {TOLERANCE}")
    return 0


def _fail(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 1


def _noise(count: int, engine: OnnxEngine) -> Images:
    """Random pictures, uint8 (count, height, width, 3)."""
    shape = (count, engine.height, engine.width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _difference(one: OnnxEngine, other: OnnxEngine, images: Images) -> float:
    parts = np.array_split(images, len(images) // max(BATCHES))
    return max(float(np.abs(one.run(part)[0] - other.run(part)[0]).max()) for part in parts)


def _latencies(engine: OnnxEngine, images: Images) -> list[float]:
    """Seconds of each of `RUNS` inferences, after a few that do not count."""
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        engine.run(images)
        seconds.append(time.perf_counter() - start)
    return seconds[RUNS // 10 :]


if __name__ == "__main__":
    sys.exit(main())
