"""The machine and the library versions that a run uses."""

import os
import platform
from importlib import metadata
from pathlib import Path

# Decide what is trained, whatever Keras computes with: SciPy calibrates, scikit-learn splits.
TRAINS = ("python", "keras", "numpy", "pillow", "scipy", "scikit-learn")
_EXPORTS = ("tensorflow", "tf2onnx", "onnx", "onnxruntime-gpu", "onnxruntime")
_BACKENDS = {"tensorflow": (), "jax": ("jax", "jaxlib"), "torch": ("torch",)}


def hardware() -> str:
    """Processor model, number of cores and operating system in one line."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    except OSError:  # not Linux
        pass
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def libraries(backend: str = "tensorflow") -> dict[str, str]:
    """Versions of Python and of the installed libraries that decide the result.

    Args:
        backend: of Keras; TensorFlow exports, whatever trains.
    """
    found = {"python": platform.python_version()}
    for name in (*TRAINS[1:], *_EXPORTS, *_BACKENDS[backend]):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def dtype_policy() -> str:
    """`mixed_bfloat16` where the processor multiplies bfloat16 in hardware, else `float32`.

    The processor decides and not the preset: emulated bfloat16 is much slower than float32.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return "float32"
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"
