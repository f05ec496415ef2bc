"""Reader of image files in a folder for each class."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from tqdm import tqdm

from training.data import pictures
from training.data.reader import Classes, Raw, SplitName
from training.errors import TrainingError
from training.presets import ResizeRule

# What systems and programs leave in folders of pictures, beside hidden files: caches, thumbnails,
# recycled files. `service/cli/files.py` has the same list.
_LITTER = ("@eadir", "#recycle", "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini")


def _is_litter(parts: Iterable[str]) -> bool:
    """Whether a part of a path is hidden, or a name that is never one of a picture's own."""
    return any(part.startswith(".") or part.lower() in _LITTER for part in parts)


@dataclass(frozen=True)
class ClassFolders:
    """`train/<class>/*` and `test/<class>/*`: image files of any size.

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
        found = (self.folder / split).glob("*/*")
        wanted = (path for path in found if not _is_litter((path.parent.name, path.name)))
        return sorted(path for path in wanted if path.is_file())

    def _classes(self, split: SplitName) -> list[str]:
        folders = (path for path in (self.folder / split).glob("*") if path.is_dir())
        return sorted(folder.name for folder in folders if not _is_litter([folder.name]))

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
