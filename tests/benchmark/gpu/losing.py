"""The service, whose worker loses its device when it gets SIGUSR2; see `parts/loss.py`.

    python -m tests.benchmark.gpu.losing

On a CPU, which cannot be lost, every inference fails from then on.
"""

import ctypes
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from service.cli.serve import main
from service.errors import EngineFailedError

# A kernel that stops with an error. What CUDA has in this process is useless from then on.
_KERNEL = b".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry lose() { trap; }\n"


def lose(_signal: int, _frame: FrameType | None) -> None:
    """Loses the device of this process."""
    if os.environ["CIFAR10_PROVIDER"] == "cuda":
        _run_kernel()
    else:
        from service.inference import engine

        engine.OnnxEngine.run = _fail  # type: ignore[assignment, method-assign]


def _fail(*_: object) -> NoReturn:
    raise EngineFailedError("the device is lost")


def _run_kernel() -> None:
    cuda = ctypes.CDLL("libcuda.so.1")
    context, module, kernel = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    calls = (
        ("cuInit", 0),
        # The context that ONNX Runtime uses, too.
        ("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0),
        ("cuCtxSetCurrent", context),
        ("cuModuleLoadData", ctypes.byref(module), _KERNEL),
        ("cuModuleGetFunction", ctypes.byref(kernel), module, b"lose"),
        ("cuLaunchKernel", kernel, 1, 1, 1, 1, 1, 1, 0, None, None, None),
    )
    for name, *arguments in calls:
        if status := cuda[name](*arguments):
            print(f"{name} failed with status {status}", file=sys.stderr)
            return


# Also in a worker that is not forked: it imports this file.
signal.signal(signal.SIGUSR2, lose)

if __name__ == "__main__":
    sys.exit(main())
