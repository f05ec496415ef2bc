"""The GPU as the library of its driver sees it: name, memory, and how busy it is."""

import ctypes
import threading
import time
from contextlib import suppress
from statistics import fmean
from typing import Self

_LIBRARY = "libnvidia-ml.so.1"
_SAMPLE_S = 0.05
_TEXT_BYTES = 96


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class _Utilisation(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint) for name in ("gpu", "memory")]


class Gpu:
    """The first GPU of the machine."""

    def __init__(self) -> None:
        """Opens it.

        Raises:
            OSError: there is none, or its driver does not answer.
        """
        self._library = ctypes.CDLL(_LIBRARY)
        self._handle = ctypes.c_void_p()
        self._call("nvmlInit_v2")
        self._call("nvmlDeviceGetHandleByIndex_v2", 0, ctypes.byref(self._handle))

    @property
    def name(self) -> str:
        """Its name."""
        text = ctypes.create_string_buffer(_TEXT_BYTES)
        self._call("nvmlDeviceGetName", self._handle, text, _TEXT_BYTES)
        return text.value.decode()

    @property
    def driver(self) -> str:
        """The version of its driver."""
        text = ctypes.create_string_buffer(_TEXT_BYTES)
        self._call("nvmlSystemGetDriverVersion", text, _TEXT_BYTES)
        return text.value.decode()

    @property
    def memory_mb(self) -> float:
        """What all processes use of its memory, in MB."""
        memory = _Memory()
        self._call("nvmlDeviceGetMemoryInfo", self._handle, ctypes.byref(memory))
        return float(memory.used) / 1e6

    @property
    def utilisation(self) -> float:
        """The share of the last moments in which it computed something, in percent."""
        utilisation = _Utilisation()
        self._call("nvmlDeviceGetUtilizationRates", self._handle, ctypes.byref(utilisation))
        return float(utilisation.gpu)

    def _call(self, function: str, *arguments: object) -> None:
        if status := self._library[function](*arguments):
            raise OSError(f"{function} failed with status {status}")


def find_gpu() -> Gpu | None:
    """The GPU; None where there is none."""
    try:
        return Gpu()
    except OSError:
        return None


class Watch:
    """Looks at the GPU again and again, as a context manager; without one it sees nothing.

    Attributes:
        memory_mb: the most memory that was in use; None without a GPU.
    """

    def __init__(self) -> None:
        """Begins with the memory that is in use now."""
        self._gpu = find_gpu()
        self.memory_mb = self._gpu.memory_mb if self._gpu else None
        self._utilisations: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def utilisation(self, start: float, end: float) -> float | None:
        """How busy the GPU was between two moments, in percent; None without one."""
        within = [percent for at, percent in self._utilisations if start <= at < end]
        return fmean(within) if within else None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while self._gpu and not self._ended.wait(_SAMPLE_S):
            self.memory_mb = max(self.memory_mb or 0.0, self._gpu.memory_mb)
            with suppress(OSError):  # a part of a GPU has none
                self._utilisations.append((time.monotonic(), self._gpu.utilisation))
