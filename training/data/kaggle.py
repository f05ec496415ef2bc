"""Reader of the Kaggle data set "cifar10-python-in-csv": one row for each picture."""

import csv
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.data.reader import (
    CIFAR10_LABELS,
    PIXELS,
    SIDE,
    Classes,
    Raw,
    SplitName,
    planes_to_pictures,
)
from training.errors import TrainingError

CSV_CHUNK_ROWS = 2_000


@dataclass(frozen=True)
class KaggleCsv:
    """`train.csv` and `test.csv` with 3,072 pixel columns and a label column."""

    folder: Path
    kind: ClassVar[str] = "Kaggle CSV"

    def files(self, split: SplitName) -> list[Path]:
        """The CSV file of the split, and `labels.txt` where it exists."""
        found = [self.folder / f"{split}.csv"]
        if not found[0].exists():
            return []
        return found + [p for p in [self.folder / "labels.txt"] if p.exists()]

    def read(self, split: SplitName, classes: Classes = None) -> Raw:  # noqa: D102
        path = self.folder / f"{split}.csv"
        columns, label = _csv_columns(path)
        if label is None and split == "train":
            raise TrainingError(f"{path}: {columns} columns: the label column is missing")
        values, labels = _csv_table(path, columns, label)
        images = planes_to_pictures(values)
        if labels is None:
            return Raw(images, None, classes or ())
        classes = classes or self._classes(labels)
        return Raw(images, _indices(path, labels, classes), classes)

    def _classes(self, labels: npt.NDArray[np.int64]) -> tuple[str, ...]:
        names = self.folder / "labels.txt"
        if names.exists():
            lines = (line.strip() for line in names.read_text().splitlines())
            return tuple(line for line in lines if line)
        present = np.unique(labels).tolist()
        if present == list(range(len(CIFAR10_LABELS))):
            return CIFAR10_LABELS
        return tuple(str(value) for value in present)


def _indices(
    path: Path, labels: npt.NDArray[np.int64], classes: tuple[str, ...]
) -> npt.NDArray[np.int64]:
    """Indices into the classes for the labels of the file."""
    if all(name.isdecimal() for name in classes):
        values = np.array([int(name) for name in classes])
    else:
        values = np.arange(len(classes))
    unknown = np.flatnonzero(~np.isin(labels, values))
    if len(unknown):
        raise TrainingError(
            f"{path}: row {unknown[0] + 2}: label {labels[unknown[0]]} is none of the "
            f"{len(classes)} classes ({', '.join(classes)})"
        )
    return np.searchsorted(values, labels)


def _csv_columns(path: Path) -> tuple[int, int | None]:
    """Number of columns of a CSV file, and the position of its label column."""
    with path.open(newline="") as file:
        rows = csv.reader(file)
        header = [name.strip().lower() for name in next(rows, [])]
        first = next(rows, None)
    if first is None:
        raise TrainingError(f"{path}: the file holds no pictures")
    if len(first) != len(header):
        raise TrainingError(f"{path}: row 2: {len(first)} columns; the header has {len(header)}")
    named = [header.index(name) for name in ("label", "labels") if name in header]
    if len(header) == PIXELS and not named:
        return PIXELS, None
    if len(header) != PIXELS + 1:
        raise TrainingError(
            f"{path}: row 1: {len(header)} columns; expected {PIXELS} pixel columns "
            f"({SIDE} x {SIDE} x 3) and a label"
        )
    return PIXELS + 1, named[0] if named else PIXELS


def _csv_table(
    path: Path, columns: int, label: int | None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64] | None]:
    """Pixels uint8 (N, 3072) and labels int64 (N,) of a CSV file."""
    pixels, labels, rows = [], [], 0
    try:
        with pd.read_csv(path, dtype=np.int16, chunksize=CSV_CHUNK_ROWS) as chunks:
            for chunk in chunks:
                table = chunk.to_numpy()
                values = table if label is None else np.delete(table, label, axis=1)
                if table.min() < 0 or values.max() > 255:
                    raise ValueError("a value is out of range")
                pixels.append(values.astype(np.uint8))
                if label is not None:
                    labels.append(table[:, label].astype(np.int64))
                rows += len(table)
    except (ValueError, OverflowError) as error:  # pandas' own errors name no row
        reason = _first_bad_row(path, columns, label, after=rows + 1)
        raise TrainingError(f"{path}: {reason or error}") from None
    return np.concatenate(pixels), np.concatenate(labels) if labels else None


def _first_bad_row(path: Path, columns: int, label: int | None, after: int) -> str | None:
    """What is wrong with the first bad row behind the first `after` rows; None if none is bad."""
    with path.open(newline="") as file:
        for number, row in itertools.islice(enumerate(csv.reader(file), 1), after, None):
            if len(row) != columns:
                return f"row {number}: {len(row)} columns; the header has {columns}"
            for column, text in enumerate(row):
                value = int(text) if text.strip().lstrip("-").isdecimal() else -1
                if column == label and not 0 <= value <= np.iinfo(np.int16).max:
                    return f"row {number}: label {text!r} is not a class number"
                if column != label and not 0 <= value <= 255:
                    return (
                        f"row {number}, column {column + 1}: {text!r} is not a whole number "
                        "in 0..255"
                    )
    return None
