"""Reader of CIFAR-10 as Keras downloads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from training.data.reader import CIFAR10_LABELS, Classes, Raw, SplitName
from training.errors import TrainingError


@dataclass(frozen=True)
class KerasDownload:
    """CIFAR-10 from the download and the cache of Keras; used where no folder is named."""

    kind: ClassVar[str] = "Keras download"

    def files(self, split: SplitName) -> list[Path]:  # noqa: ARG002
        """No files: Keras keeps its own cache."""
        return []

    def read(self, split: SplitName, classes: Classes = None) -> Raw:  # noqa: D102
        from keras.datasets import cifar10  # heavy, and only needed here

        try:
            both = cifar10.load_data()
        except Exception as error:  # urllib, tarfile and Keras raise many types
            raise TrainingError(
                f"Keras could not download CIFAR-10 ({error}). Name a folder with --data: "
                "the Kaggle CSV files, cifar-10-batches-py, or train/<class>/ folders."
            ) from None
        images, labels = both[0 if split == "train" else 1]
        return Raw(images, labels.reshape(-1).astype(np.int64), classes or CIFAR10_LABELS)
