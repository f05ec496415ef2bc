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


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for path in (FOLDERS / split / name).iterdir():
                (folder / path.name).write_bytes(path.read_bytes())
        checkpoints = tmp_path / split / ".ipynb_checkpoints"
        checkpoints.mkdir()
        (checkpoints / "copy.jpg").write_bytes(b"a picture of no class")
        (tmp_path / split / "cat" / ".DS_Store").write_bytes(b"no picture")
    assert read(tmp_path).classes == ("cat", "dog")


def test_data_may_lie_in_a_hidden_folder(tmp_path: Path) -> None:
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / "train").symlink_to(FOLDERS / "train")
    assert len(read(tmp_path / ".data").classes) == 10
