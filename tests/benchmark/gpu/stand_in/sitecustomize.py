"""Python imports this at its start where the folder is on its path: the CPU passes for CUDA.

So the steps that are taken on a GPU alone can be tried without one. The device is memory of the
host, and no graph is captured.
"""

import ctypes
import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class _Library(ctypes.CDLL):
    """A library, which for the driver's is the program itself."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(None if name == "libcuda.so.1" else name)


class _Session(ort.InferenceSession):  # type: ignore[misc]
    """A session that says it computes on CUDA if it was asked for that."""

    def __init__(
        self,
        model: bytes,
        options: ort.SessionOptions,
        providers: list[str | tuple[str, dict[str, str]]],
        enable_fallback: int,
    ) -> None:
        self._is_cuda = any(provider[0] == _CUDA for provider in providers)
        super().__init__(model, options, providers=[_CPU], enable_fallback=enable_fallback)

    def get_providers(self) -> list[str]:
        return [_CUDA, _CPU] if self._is_cuda else [_CPU]


def _allocate(values: NDArray[np.generic], _device: str, _number: int) -> ort.OrtValue:
    return _allocate_really(values.copy())


_allocate_really = ort.OrtValue.ortvalue_from_numpy
ctypes.CDLL = _Library  # type: ignore[assignment, misc]
ort.get_available_providers = lambda: [_CUDA, _CPU]
ort.preload_dlls = lambda directory=None: None  # noqa: ARG005
ort.InferenceSession = _Session
ort.OrtValue.ortvalue_from_numpy = _allocate
