"""Data sets: choose the reader, cache what it read, split into training and validation."""

import contextlib
import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs
from PIL import Image
from sklearn.model_selection import train_test_split

from training.data import pictures
from training.data.find import KerasDownload, find_reader
from training.data.reader import Classes, Raw, Reader, SplitName
from training.errors import TrainingError
from training.presets import ResizeRule

VALIDATION_SHARE = 0.1
SPLIT_SEED = 0


@dataclass(frozen=True)
class Split:
    """Labelled pictures.

    Attributes:
        images: uint8 (N, size, size, 3), RGB.
        labels: int64 (N,), indices into the data set's classes.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.labels)


@dataclass(frozen=True)
class DataSet:
    """What training may see: the training and validation splits, never the test split.

    Attributes:
        train: 90 % of the training pictures.
        validation: the other 10 %, stratified by class; every choice is made on it.
        classes: class names in the order of the labels.
        source: the kind of the data, in words.
        fingerprint: SHA-256 over all training pictures and labels.
    """

    train: Split
    validation: Split
    classes: tuple[str, ...]
    source: str
    fingerprint: str


def load(folder: Path | None, size: int, rule: ResizeRule) -> DataSet:
    """Training and validation splits of the data in a folder.

    The test files are read too, but only to find mistakes in them before hours of training.

    Raises:
        TrainingError: something is wrong with the data; the message names file and row.
    """
    reader = find_reader(folder, size, rule)
    raw = _read(reader, "train", size, rule)
    _read_test(reader, raw, size, rule)
    assert raw.labels is not None
    train, validation = _stratified_split(raw.labels, raw.classes)
    digest = hashlib.sha256(raw.images.tobytes())
    digest.update(raw.labels.tobytes())
    return DataSet(
        Split(raw.images[train], raw.labels[train]),
        Split(raw.images[validation], raw.labels[validation]),
        raw.classes,
        reader.kind,
        digest.hexdigest(),
    )


def load_test(folder: Path | None, size: int, rule: ResizeRule) -> Split | None:
    """The test split, for `evaluate` alone; None when there are no labelled test pictures."""
    reader = find_reader(folder, size, rule)
    return _read_test(reader, _read(reader, "train", size, rule), size, rule)


def _read_test(reader: Reader, train: Raw, size: int, rule: ResizeRule) -> Split | None:
    if not isinstance(reader, KerasDownload) and not reader.files("test"):
        return None
    test = _read(reader, "test", size, rule, train.classes)
    if test.labels is None or train.labels is None:
        return None
    strangers = np.flatnonzero(~np.isin(test.labels, train.labels))
    if len(strangers):
        name = train.classes[test.labels[strangers[0]]]
        raise TrainingError(
            f"{reader.files('test')[0]}: picture {strangers[0] + 1}: class {name!r} "
            "has no training pictures"
        )
    return Split(test.images, test.labels)


def _stratified_split(
    labels: npt.NDArray[np.int64], classes: tuple[str, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    counts = np.bincount(labels, minlength=len(classes))
    few = [name for name, count in zip(classes, counts, strict=True) if count < 2]
    if len(classes) < 2 or few:
        what = f"class {few[0]!r} has" if few else "there are"
        raise TrainingError(
            f"{what} too few training pictures: at least 2 classes with 2 pictures each are needed"
        )
    held_out = max(len(classes), round(len(labels) * VALIDATION_SHARE))
    train, validation = train_test_split(
        np.arange(len(labels)), test_size=held_out, stratify=labels, random_state=SPLIT_SEED
    )
    return np.sort(train), np.sort(validation)


def _read(
    reader: Reader, split: SplitName, size: int, rule: ResizeRule, classes: Classes = None
) -> Raw:
    """Read a split through the cache, at the size that the network takes."""
    files = reader.files(split)
    if not files:  # Keras keeps its own copy
        return _at_size(reader.read(split, classes), size, rule)
    path, key = _cache_entry(files, size, rule, classes)
    cached = _load_cache(path, key)
    if cached is None:
        cached = _at_size(reader.read(split, classes), size, rule)
        _save_cache(path, key, cached)
    return cached


def _at_size(raw: Raw, size: int, rule: ResizeRule) -> Raw:
    if raw.images.shape[1:3] == (size, size):
        return raw
    resized = [pictures.resize(Image.fromarray(image), size, rule) for image in raw.images]
    return Raw(np.stack([np.asarray(image) for image in resized]), raw.labels, raw.classes)


def _cache_entry(
    files: list[Path], size: int, rule: ResizeRule, classes: Classes
) -> tuple[Path, str]:
    """Where a split is cached, and the fingerprint of its files that makes the entry valid."""
    stats = [(str(path.resolve()), path.stat()) for path in files]
    where = repr([stats[0][0], size, rule])
    state = repr([classes, *((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)])
    folder = Path(platformdirs.user_cache_dir("cifar10-serve"))
    name = hashlib.sha256(where.encode()).hexdigest()[:16]
    return folder / f"{name}.npz", hashlib.sha256(state.encode()).hexdigest()


def _load_cache(path: Path, key: str) -> Raw | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as entry:
            if str(entry["key"]) != key:
                return None
            labels = entry["labels"]
            classes = tuple(str(name) for name in entry["classes"])
            return Raw(entry["images"], labels if labels.size else None, classes)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None  # absent, or cut off by a full disk: read the source again


def _save_cache(path: Path, key: str, raw: Raw) -> None:
    labels = np.empty(0, np.int64) if raw.labels is None else raw.labels
    unfinished = path.with_suffix(f".{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(unfinished, key=key, images=raw.images, labels=labels, classes=raw.classes)
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        print(f"not cached, the next start reads the files again: {error}")
