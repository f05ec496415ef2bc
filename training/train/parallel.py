"""Several devices that share each batch, of one process or of several, by Keras' own engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from training.errors import TrainingError
from training.train import backend


@dataclass(frozen=True)
class Share:
    """The part of each batch that this process makes.

    Attributes:
        index: of this process; the first one writes the run.
        count: of all processes.
        devices: of this process.
    """

    index: int = 0
    count: int = 1
    devices: int = 1

    def of(self, rows: Any) -> Any:  # noqa: ANN401
        """This process's part of all rows of a batch; of equal length in all processes."""
        part = len(rows) // self.count
        return rows[self.index * part : (self.index + 1) * part]

    def even(self, rows: Any) -> Any:  # noqa: ANN401
        """The same, without the last rows that its devices cannot divide."""
        part = len(rows) // (self.count * self.devices) * self.devices
        return rows[self.index * part : (self.index + 1) * part]

    def check(self, pictures: int, outliers: int, *, halves: bool = False) -> None:
        """See that a batch can be divided.

        Args:
            pictures: in each batch.
            outliers: in each batch.
            halves: whether every second row is used by itself; the parts of several processes must
                then be even, or these rows would be others than those of one process.

        Raises:
            TrainingError: it cannot.
        """
        parts = 2 * self.count if halves and self.count > 1 else self.count
        rest = pictures % parts or outliers % parts
        if rest or (pictures + outliers) // self.count % self.devices:
            raise TrainingError(
                f"a batch of {pictures} pictures and {outliers} outliers cannot be shared by "
                f"{self.count} processes with {self.devices} devices each"
            )


@contextmanager
def scope(devices: int) -> Iterator[Share]:
    """The context in which models are created, loaded and trained on several devices at once.

    Each device takes an equal part of each batch; batch normalisation and gradients are those of
    the whole batch. Several processes use all their devices, whatever `devices` is.

    Raises:
        TrainingError: there are fewer devices, or the backend has no such engine.
    """
    count = backend.processes()
    if devices == 1 and count == 1:
        yield Share()
        return
    if keras.backend.backend() != "jax":
        raise TrainingError("several devices train under KERAS_BACKEND=jax alone")
    import jax

    found = keras.distribution.list_devices()
    if len(found) < devices:
        raise TrainingError(f"--devices {devices}: JAX has {len(found)}")
    used = found if count > 1 else found[:devices]
    with keras.distribution.DataParallel(devices=used, auto_shard_dataset=False).scope():
        yield Share(jax.process_index(), count, len(used) // count)


@contextmanager
def alone() -> Iterator[None]:
    """The context in which a model of several processes is saved by one of them.

    Keras makes variables while it saves, which all processes would have to make together.
    """
    own = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(own)


def meet(share: Share) -> None:
    """Wait until all processes are here."""
    if share.count > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices("cifar10-serve")
