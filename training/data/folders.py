"""Reader of image files in a folder for each class."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from tqdm import tqdm

from training.data import pictures
from training.data.reader import Classes, Raw, SplitName
from training.errors import TrainingError
from training.files import is_litter
from training.presets import ResizeRule


@dataclass(frozen=True)
class ClassFolders:
    """`train/<class>/*` and `test/<class>/*`: image files of any size.

    Hidden files and folders are left out, and what systems and programs leave in such folders.

    Attributes:
        folder: holds `train` and `test`.
        size: height and width of the pictures that are returned, in pixels.
        rule: how pictures are brought to `size`.
    """

    folder: Path
    size: int
    rule: ResizeRule
    kind: ClassVar[str] = "class folders"

    def files(self, split: SplitName) -> list[Path]:
        """Every file of the split in a fixed order, without hidden files and litter."""
        return [path for path in self._visible(split, "*/*") if path.is_file()]

    def _classes(self, split: SplitName) -> list[str]:
        return [folder.name for folder in self._visible(split, "*") if folder.is_dir()]

    def _visible(self, split: SplitName, pattern: str) -> list[Path]:
        folder = self.folder / split
        return sorted(path for path in folder.glob(pattern) if not is_litter(path, folder))

    def read(self, split: SplitName, classes: Classes = None) -> Raw:  # noqa: D102
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
            np.stack([pictures.read(path, self.size, self.rule) for path in progress]),
            np.array([index[path.parent.name] for path in files], np.int64),
            classes,
        )
