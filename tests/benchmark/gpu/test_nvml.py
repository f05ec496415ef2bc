"""The GPU by its driver's library, which is replaced by one that answers from a table."""

import ctypes
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tests.benchmark.gpu import nvml
from tests.benchmark.gpu.nvml import Watch, find_gpu

Library = dict[str, Callable[..., int]]


@pytest.fixture
def used() -> SimpleNamespace:
    """What the GPU says of itself."""
    return SimpleNamespace(memory=5_000_000, percent=40)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, used: SimpleNamespace) -> Library:
    def fill_name(_handle: object, buffer: ctypes.Array[ctypes.c_char], _size: int) -> int:
        buffer.value = b"A GPU"
        return 0

    def fill_version(buffer: ctypes.Array[ctypes.c_char], _size: int) -> int:
        buffer.value = b"580.1"
        return 0

    def fill_memory(_handle: object, reference: SimpleNamespace) -> int:
        reference._obj.used = used.memory
        return 0

    def fill_utilisation(_handle: object, reference: SimpleNamespace) -> int:
        reference._obj.gpu = used.percent
        return 0

    functions: Library = {
        "nvmlInit_v2": lambda: 0,
        "nvmlDeviceGetHandleByIndex_v2": lambda _index, _handle: 0,
        "nvmlDeviceGetName": fill_name,
        "nvmlSystemGetDriverVersion": fill_version,
        "nvmlDeviceGetMemoryInfo": fill_memory,
        "nvmlDeviceGetUtilizationRates": fill_utilisation,
    }
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: functions)
    return functions


@pytest.mark.usefixtures("library")
def test_gpu_says_what_it_is_and_how_busy() -> None:
    gpu = find_gpu()
    assert gpu
    assert (gpu.name, gpu.driver) == ("A GPU", "580.1")
    assert (gpu.memory_mb, gpu.utilisation) == (5, 40)


def test_driver_that_does_not_answer_is_no_gpu(library: Library) -> None:
    library["nvmlInit_v2"] = lambda: 9
    assert find_gpu() is None


@pytest.mark.usefixtures("library")
def test_most_memory_and_mean_utilisation_are_kept(
    monkeypatch: pytest.MonkeyPatch, used: SimpleNamespace
) -> None:
    monkeypatch.setattr(nvml, "_SAMPLE_S", 0.001)
    start = time.monotonic()
    with Watch() as watch:
        used.memory = 8_000_000
        while watch.memory_mb != 8:
            time.sleep(0.001)
        used.memory = 6_000_000
        time.sleep(0.01)
    assert watch.memory_mb == 8
    assert watch.utilisation(start, time.monotonic()) == 40
    assert watch.utilisation(start - 1, start) is None
