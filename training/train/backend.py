"""The Keras backend that computes: its start, its devices and what differs between backends."""

import gc
import os
import random
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from training import environment
from training.errors import TrainingError

# Keras and its backend take seconds to import, so `start` and the functions after it do.

NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def start() -> str:
    """Import Keras with the backend that `KERAS_BACKEND` names; its messages are not shown.

    Where `KERAS_DISTRIBUTION_NUM_PROCESSES` is set, wait for the other processes.

    Returns:
        The backend, its version, and what it computes on.

    Raises:
        TrainingError: the backend is unknown or not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    terminal = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    gc.disable()  # to look for garbage meanwhile would take a fifth of the time
    try:
        import keras

        if processes() > 1:
            keras.distribution.initialize()
        gpus = accelerators()
    except (ImportError, ValueError) as error:
        raise TrainingError(f"KERAS_BACKEND: {error}") from None
    finally:
        gc.enable()
        os.dup2(terminal, 2)
        os.close(terminal)
    where = f"{len(gpus)} GPU" if gpus else f"the CPU ({os.cpu_count()} cores)"
    name = keras.backend.backend()
    return f"{NAMES[name]} {import_module(name).__version__} on {where}"


def processes() -> int:
    """Number of processes that train together, on one machine or several."""
    return int(os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", "1"))


def accelerators() -> list[str]:
    """The models of the GPUs that are computed on; none where it is the CPU."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    if keras.backend.backend() == "torch":
        import torch

        return [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(device) for device in devices]
    return [detail.get("device_name", "a GPU") for detail in details]


def hardware() -> str:
    """Processor, operating system and GPUs in one line."""
    return "; ".join([environment.hardware(), *accelerators()])


def libraries() -> dict[str, str]:
    """Versions of Python and of the libraries that decide the result."""
    import keras

    return environment.libraries(keras.backend.backend())


def dtype_policy() -> str:
    """The Keras dtype policy that suits the devices: GPUs multiply bfloat16 in hardware."""
    return "mixed_bfloat16" if accelerators() else environment.dtype_policy()


def seed(number: int) -> None:
    """Make all random choices of Keras and its backend depend on a number."""
    import keras

    if keras.backend.backend() == "tensorflow":
        keras.utils.set_random_seed(number)
        return
    # The function of Keras would start TensorFlow where that is installed, and TensorFlow takes
    # all memory of a GPU. Keras draws the seeds of layers from Python's generator.
    random.seed(number)


def fix_order_of_sums() -> None:
    """Let TensorFlow compute in a fixed order where that is cheap, which is without a GPU."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors, compiled where the backend has a compiler; without gradients."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        jitted: Callable[..., Any] = jax.jit(function)
        return jitted
    if keras.backend.backend() == "torch":
        import torch

        plain: Callable[..., Any] = torch.no_grad()(function)
        return plain
    import tensorflow as tf

    graph: Callable[..., Any] = tf.function(function)
    return graph
