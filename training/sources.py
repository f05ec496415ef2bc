"""Readers of the layouts in which people have pictures on disk.

Each reader names its files and reads one split; what is wrong with a file is said with the file
and the row. `data.py` chooses the reader, caches what it read and makes the splits.
"""

import csv
import itertools
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from training import pictures
from training.config import ResizeRule
from training.errors import TrainingError

SplitName = Literal["train", "test"]
Classes = tuple[str, ...] | None

CIFAR10_LABELS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
SIDE = 32
PIXELS = 3 * SIDE * SIDE
CSV_CHUNK_ROWS = 2_000


@dataclass(frozen=True)
class Raw:
    """What a reader found in one split.

    Attributes:
        images: uint8 (N, height, width, 3), RGB.
        labels: int64 (N,), indices into `classes`; None where the file has no labels.
        classes: the class names, in the order of the indices.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None
    classes: tuple[str, ...]


class Reader(Protocol):
    """One layout of a data set on disk."""

    kind: ClassVar[str]

    def files(self, split: SplitName) -> list[Path]:
        """The files that a split is read from; empty when the split is not there."""

    def read(self, split: SplitName, size: int, rule: ResizeRule, classes: Classes = None) -> Raw:
        """Read a split; pictures that have a size of their own come out `size` pixels square.

        `classes` are those of the training split when the test split is read.
        """


@dataclass(frozen=True)
class KaggleCsv:
    """`train.csv` and `test.csv` with 3,072 pixel columns and a label column."""

    folder: Path
    kind: ClassVar[str] = "Kaggle CSV"

    def files(self, split: SplitName) -> list[Path]:
        """The CSV file of the split, and `labels.txt` where there is one."""
        found = [self.folder / f"{split}.csv"]
        if not found[0].exists():
            return []
        return found + [p for p in [self.folder / "labels.txt"] if p.exists()]

    def read(  # noqa: D102
        self,
        split: SplitName,
        size: int,  # noqa: ARG002
        rule: ResizeRule,  # noqa: ARG002
        classes: Classes = None,
    ) -> Raw:
        path = self.folder / f"{split}.csv"
        columns, label = _csv_columns(path)
        if label is None and split == "train":
            raise TrainingError(f"{path}: {columns} columns: the label column is missing")
        values, labels = _csv_table(path, columns, label)
        images = values.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
        if labels is None:
            return Raw(np.ascontiguousarray(images), None, classes or ())
        classes = classes or self._classes(labels)
        return Raw(np.ascontiguousarray(images), _indices(path, labels, classes), classes)

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
    """Labels as they stand in the file -> indices into the classes."""
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
    """What is wrong with the first row, after a number of good ones, that cannot be read."""
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


class _ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and plain values; everything else is refused."""

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

    def read(  # noqa: D102
        self,
        split: SplitName,
        size: int,  # noqa: ARG002
        rule: ResizeRule,  # noqa: ARG002
        classes: Classes = None,
    ) -> Raw:
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
    images = data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels.astype(np.int64)


@dataclass(frozen=True)
class ClassFolders:
    """`train/<class>/*` and `test/<class>/*`: image files of any size, any classes."""

    folder: Path
    kind: ClassVar[str] = "class folders"

    def files(self, split: SplitName) -> list[Path]:
        """Every file of the split, in a fixed order; hidden files do not count."""
        found = (self.folder / split).glob("*/*")
        return sorted(p for p in found if p.is_file() and not p.name.startswith("."))

    def _classes(self, split: SplitName) -> list[str]:
        folders = (self.folder / split).glob("[!.]*")
        return sorted(folder.name for folder in folders if folder.is_dir())

    def read(  # noqa: D102
        self, split: SplitName, size: int, rule: ResizeRule, classes: Classes = None
    ) -> Raw:
        classes = classes or tuple(self._classes("train"))
        files = self.files(split)
        for name in self._classes(split):
            if name not in classes:
                raise TrainingError(
                    f"{self.folder / split / name}: class {name!r} is not in "
                    f"{self.folder / 'train'}; rename it or add training pictures"
                )
            if not any(path.parent.name == name for path in files):
                raise TrainingError(f"{self.folder / split / name}: the folder holds no pictures")
        index = {name: number for number, name in enumerate(classes)}
        progress = tqdm(files, f"reading {split}", unit="pictures", leave=False, disable=None)
        return Raw(
            np.stack([pictures.read(path, size, rule) for path in progress]),
            np.array([index[path.parent.name] for path in files], np.int64),
            classes,
        )


@dataclass(frozen=True)
class KerasDownload:
    """CIFAR-10 as Keras downloads and keeps it; used when no folder is named."""

    kind: ClassVar[str] = "Keras download"

    def files(self, split: SplitName) -> list[Path]:  # noqa: ARG002
        """None: Keras keeps its own cache."""
        return []

    def read(  # noqa: D102
        self,
        split: SplitName,
        size: int,  # noqa: ARG002
        rule: ResizeRule,  # noqa: ARG002
        classes: Classes = None,
    ) -> Raw:
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


def find_reader(folder: Path | None) -> Reader:
    """The reader for what lies in a folder.

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
        (lambda f: (f / "train").is_dir(), ClassFolders),
    )  # fmt: skip
    for fits, reader in layouts:
        if fits(folder):
            return reader(folder)
    raise TrainingError(
        f"{folder}: found neither train.csv, nor cifar-10-batches-py, nor train/<class>/ folders"
    )
