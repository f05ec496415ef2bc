"""Loads a data set and splits it into training, validation and test pictures."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split

from training.data import cache
from training.data.download import KerasDownload
from training.data.layout import find_reader
from training.data.reader import Raw, Reader
from training.errors import TrainingError
from training.figures import Figures
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

    def first(self, pictures: int) -> "Split":
        """The first so many pictures."""
        return Split(self.images[:pictures], self.labels[:pictures])


class DataFacts(Figures):
    """What run folders and cards say of the data.

    Attributes:
        source: name of the layout.
        fingerprint: SHA-256 over all training pictures and labels.
        train: pictures in the training split.
        validation: pictures in the validation split.
        test: labelled test pictures; None before the evaluation.
    """

    source: str
    fingerprint: str
    train: int
    validation: int
    test: int | None = None


@dataclass(frozen=True)
class DataSet:
    """The training and validation splits; training never sees the test split.

    Attributes:
        train: 90 % of the training pictures.
        validation: the other 10 %, stratified by class; all choices are made on it.
        classes: class names in the order of the labels.
        source: name of the layout.
        fingerprint: SHA-256 over all training pictures and labels.
    """

    train: Split
    validation: Split
    classes: tuple[str, ...]
    source: str
    fingerprint: str

    def facts(self) -> DataFacts:
        """The facts for run folders and cards."""
        return DataFacts(
            source=self.source,
            fingerprint=self.fingerprint,
            train=len(self.train),
            validation=len(self.validation),
        )


def load(folder: Path | None, size: int, rule: ResizeRule) -> DataSet:
    """The training and validation splits of the data in a folder.

    The test files are read too, so that an error in them is found before hours of training.

    Args:
        folder: the data, in any known layout; None for the download of Keras.
        size: height and width of the pictures in pixels.
        rule: how pictures of other sizes are brought to `size`.

    Raises:
        TrainingError: something is wrong with the data; the message names file and row.
    """
    reader = find_reader(folder, size, rule)
    raw = cache.read(reader, "train", size, rule)
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


def first(data: DataSet, pictures: int) -> DataSet:
    """The data with the first so many training pictures."""
    return replace(data, train=data.train.first(pictures))


def load_test(folder: Path | None, size: int, rule: ResizeRule) -> Split | None:
    """The test split, for the evaluation only; None where no test pictures have labels.

    Arguments and errors are those of `load`.
    """
    reader = find_reader(folder, size, rule)
    return _read_test(reader, cache.read(reader, "train", size, rule), size, rule)


def _read_test(reader: Reader, train: Raw, size: int, rule: ResizeRule) -> Split | None:
    if not isinstance(reader, KerasDownload) and not reader.files("test"):
        return None
    test = cache.read(reader, "test", size, rule, train.classes)
    if test.labels is None or train.labels is None:
        return None
    unknown = np.flatnonzero(~np.isin(test.labels, train.labels))
    if len(unknown):
        name = train.classes[test.labels[unknown[0]]]
        raise TrainingError(
            f"{reader.files('test')[0]}: picture {unknown[0] + 1}: class {name!r} "
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
