"""Training on several devices of one machine."""

from contextlib import AbstractContextManager, nullcontext

from training.errors import TrainingError


def scope(devices: int) -> AbstractContextManager[object]:
    """The context to create a model in that trains on several devices at once.

    Each device takes an equal part of each batch and normalises it by its own statistics; the
    gradients are averaged. The devices are GPUs, or logical CPUs where there is no GPU.

    Raises:
        TrainingError: there are fewer devices.
    """
    if devices == 1:
        return nullcontext()
    import tensorflow as tf  # no other backend has strategies

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(found) < devices:
        raise TrainingError(f"--devices {devices}: TensorFlow has {len(found)} on this machine")
    strategy = tf.distribute.MirroredStrategy([device.name for device in found[:devices]])
    context: AbstractContextManager[object] = strategy.scope()
    return context
