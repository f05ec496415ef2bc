"""Reader of the official Python edition of CIFAR-10.

Its files are pickles; only NumPy arrays and plain values are unpickled.
"""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from training.data.reader import PIXELS, Classes, Raw, SplitName, planes_to_pictures
from training.errors import TrainingError


class _ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and plain values, and refuses everything else."""

    _ALLOWED: ClassVar[dict[tuple[str, str], tuple[str, str]]] = {
        ("numpy", "ndarray"): ("numpy", "ndarray"),
        ("numpy", "dtype"): ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
        ("_codecs", "encode"): ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed here")
        return super().find_class(*self._ALLOWED[module, name])


@dataclass(frozen=True)
class OfficialBatches:
    """`cifar-10-batches-py`, the official Python edition."""

    folder: Path
    kind: ClassVar[str] = "official Python batches"

    def files(self, split: SplitName) -> list[Path]:
        """The batch files of the split and `batches.meta`."""
        found = sorted(self.folder.glob("data_batch_*" if split == "train" else "test_batch"))
        return [*found, self.folder / "batches.meta"] if found else []

    def read(self, split: SplitName, classes: Classes = None) -> Raw:  # noqa: D102
        *paths, meta = self.files(split)
        names = _unpickle(meta, b"label_names")
        parts = [_batch(path, len(names)) for path in paths]
        return Raw(
            np.concatenate([images for images, _ in parts]),
            np.concatenate([labels for _, labels in parts]),
            classes or tuple(name.decode() for name in names),
        )


def _unpickle(path: Path, key: bytes) -> Any:  # noqa: ANN401
    try:
        with path.open("rb") as file:
            return _ArraysOnly(file, encoding="bytes").load()[key]
    except Exception as error:  # a damaged pickle raises almost anything
        raise TrainingError(f"{path}: not a CIFAR-10 batch file ({error!r})") from None


def _batch(path: Path, classes: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    data = np.asarray(_unpickle(path, b"data"))
    labels = np.asarray(_unpickle(path, b"labels"))
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != PIXELS or not len(data):
        raise TrainingError(f"{path}: data is {data.dtype} {data.shape}; expected uint8 (N, 3072)")
    if labels.shape != (len(data),) or not np.issubdtype(labels.dtype, np.integer):
        raise TrainingError(f"{path}: {len(data)} pictures but labels of shape {labels.shape}")
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(bad):
        raise TrainingError(
            f"{path}: row {bad[0]}: label {labels[bad[0]]}, but batches.meta "
            f"names only {classes} classes"
        )
    return planes_to_pictures(data), labels.astype(np.int64)
