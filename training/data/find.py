"""Which reader fits a folder; Keras' own download where none is named."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from training.data.batches import OfficialBatches
from training.data.folders import ClassFolders
from training.data.kaggle import KaggleCsv
from training.data.reader import CIFAR10_LABELS, Classes, Raw, Reader, SplitName
from training.errors import TrainingError
from training.presets import ResizeRule


@dataclass(frozen=True)
class KerasDownload:
    """CIFAR-10 as Keras downloads and keeps it; used when no folder is named."""

    kind: ClassVar[str] = "Keras download"

    def files(self, split: SplitName) -> list[Path]:  # noqa: ARG002
        """None: Keras keeps its own cache."""
        return []

    def read(self, split: SplitName, classes: Classes = None) -> Raw:  # noqa: D102
        from keras.datasets import cifar10  # heavy, and only needed here

        try:
            both = cifar10.load_data()
        except Exception as error:  # urllib, tarfile and Keras raise many kinds
            raise TrainingError(
                f"Keras could not download CIFAR-10 ({error}). Name a folder with --data: "
                "the Kaggle CSV files, cifar-10-batches-py, or train/<class>/ folders."
            ) from None
        images, labels = both[0 if split == "train" else 1]
        return Raw(images, labels.reshape(-1).astype(np.int64), classes or CIFAR10_LABELS)


def find_reader(folder: Path | None, size: int, rule: ResizeRule) -> Reader:
    """The reader for what lies in a folder.

    Args:
        folder: the folder; None for Keras' own download.
        size: pixels square that pictures with a size of their own are brought to.
        rule: how they are brought to it.

    Raises:
        TrainingError: the folder is missing or holds none of the known layouts.
    """
    if folder is None:
        return KerasDownload()
    if not folder.is_dir():
        raise TrainingError(f"{folder}: no such folder")
    layouts: Sequence[tuple[Callable[[Path], bool], Callable[[Path], Reader]]] = (
        (lambda f: (f / "train.csv").exists(), KaggleCsv),
        (lambda f: (f / "data_batch_1").exists(), OfficialBatches),
        (lambda f: (f / "cifar-10-batches-py").is_dir(),
         lambda f: OfficialBatches(f / "cifar-10-batches-py")),
        (lambda f: (f / "train").is_dir(), lambda f: ClassFolders(f, size, rule)),
    )  # fmt: skip
    for fits, reader in layouts:
        if fits(folder):
            return reader(folder)
    raise TrainingError(
        f"{folder}: found neither train.csv, nor cifar-10-batches-py, nor train/<class>/ folders"
    )
