"""Chooses the reader for the layout of a data folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from training.data.batches import OfficialBatches
from training.data.download import KerasDownload
from training.data.folders import ClassFolders
from training.data.kaggle import KaggleCsv
from training.data.reader import Reader
from training.errors import TrainingError
from training.presets import ResizeRule


def find_reader(folder: Path | None, size: int, rule: ResizeRule) -> Reader:
    """The reader for the layout of a folder.

    Args:
        folder: the data; None for the download of Keras.
        size: height and width in pixels that a layout with pictures of any size is read at.
        rule: how such pictures are brought to `size`.

    Raises:
        TrainingError: the folder does not exist or has none of the known layouts.
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
