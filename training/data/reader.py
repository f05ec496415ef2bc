"""The interface of the readers and what they return."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

SplitName = Literal["train", "test"]
Classes = tuple[str, ...] | None

CIFAR10_LABELS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
SIDE = 32
PIXELS = 3 * SIDE * SIDE


@dataclass(frozen=True)
class Raw:
    """The pictures and labels that a reader found in one split.

    Attributes:
        images: uint8 (N, height, width, 3), RGB.
        labels: int64 (N,), indices into `classes`; None where the file has no labels.
        classes: the class names, in the order of the indices.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None
    classes: tuple[str, ...]


class Reader(Protocol):
    """Reads one layout of a data set.

    Attributes:
        kind: name of the layout, for the card.
    """

    kind: ClassVar[str]

    def files(self, split: SplitName) -> list[Path]:
        """The files that a split is read from; empty where the split does not exist."""

    def read(self, split: SplitName, classes: Classes = None) -> Raw:
        """Read a split.

        Args:
            split: which one.
            classes: the classes of the training split, where the test split is read.

        Raises:
            TrainingError: a file is not what it should be; the message names file and row.
        """


def planes_to_pictures(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Pictures (N, 32, 32, 3) from rows (N, 3072) of a red, a green and a blue plane."""
    return np.ascontiguousarray(rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
