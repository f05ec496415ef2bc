"""What this machine is: processor, GPU, driver, versions."""

import os
import platform
from collections.abc import Iterator
from importlib import metadata

import onnxruntime as ort

from tests.benchmark.gpu.nvml import find_gpu
from tests.benchmark.gpu.plan import Plan
from tests.benchmark.gpu.results import Figure, Finding
from training import environment

_LIBRARIES = ("numpy", "pillow", "starlette", "uvicorn")


def measure(plan: Plan) -> Iterator[Finding]:
    """Names them; the order of the GPUs is that of the driver."""
    yield Finding("hardware", {"": environment.hardware(), "usable": len(os.sched_getaffinity(0))})
    gpu = find_gpu()
    if gpu:
        figures: dict[str, Figure] = {"": gpu.name, "driver": gpu.driver}
        yield Finding("GPU", figures | {"MB in use": gpu.memory_mb})
    versions: dict[str, Figure] = {"Python": platform.python_version()}
    versions |= {name: metadata.version(name) for name in _LIBRARIES}
    yield Finding("versions", {"ONNX Runtime": ort.__version__, **versions})
    card = plan.stored.card
    files = ", ".join(f"{name} ({file.precision})" for name, file in card.files.items())
    served: dict[str, Figure] = {"": str(plan.stored.folder), "of": files}
    yield Finding("model", served | {"the service takes": plan.served_file})
