from pathlib import Path

import pytest

from tests.training.conftest import FOLDERS
from training.data import dataset
from training.errors import TrainingError
from training.presets import ResizeRule

RULE = ResizeRule()


def read(folder: Path) -> dataset.DataSet:
    return dataset.load(folder, 32, RULE)


def test_test_folder_of_an_unknown_class_is_named(tmp_path: Path) -> None:
    (tmp_path / "train").symlink_to(FOLDERS / "train")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "zebra").symlink_to(FOLDERS / "test" / "horse")
    with pytest.raises(TrainingError, match="class 'zebra' is not in"):
        read(tmp_path)


def test_unreadable_picture_is_named(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        folder = tmp_path / "train" / name
        folder.mkdir(parents=True)
        for path in (FOLDERS / "train" / name).iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    (tmp_path / "train" / "cat" / "zzz.jpg").write_bytes(b"no picture")
    with pytest.raises(TrainingError, match=r"zzz\.jpg: not a readable picture"):
        read(tmp_path)
