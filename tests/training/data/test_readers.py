import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import FOLDERS, pictures, write_csv
from training.data import dataset
from training.data.find import find_reader
from training.data.reader import CIFAR10_LABELS
from training.errors import TrainingError
from training.presets import ResizeRule

RULE = ResizeRule()
Change = Callable[[list[str]], list[str]]


def read(folder: Path) -> dataset.DataSet:
    return dataset.load(folder, 32, RULE)


def edit(path: Path, row: int, change: Change) -> None:
    """Change the cells of one row; row 1 is the header."""
    lines = path.read_text().splitlines()
    lines[row - 1] = ",".join(change(lines[row - 1].split(",")))
    path.write_text("\n".join(lines) + "\n")


def with_cell(position: int, text: str) -> Change:
    def change(cells: list[str]) -> list[str]:
        cells[position] = text
        return cells

    return change


def test_every_layout_gives_the_same_pictures(kaggle: Path, batches: Path) -> None:
    expected, labels = pictures("train")
    for folder in (kaggle, batches, batches / "cifar-10-batches-py", FOLDERS):
        raw = find_reader(folder, 32, RULE).read("train")
        np.testing.assert_array_equal(raw.images, expected)
        assert raw.labels is not None
        assert raw.labels.tolist() == labels
        assert raw.classes == CIFAR10_LABELS


def test_label_column_is_found_by_its_name(tmp_path: Path) -> None:
    images, labels = pictures("train")
    write_csv(tmp_path / "train.csv", images, list(labels))
    for row in range(1, len(labels) + 2):
        edit(tmp_path / "train.csv", row, lambda cells: [cells[-1], *cells[:-1]])
    assert find_reader(tmp_path, 32, RULE).read("train").images.tolist() == images.tolist()


def test_last_column_is_the_label_when_none_is_named_so(kaggle: Path) -> None:
    edit(kaggle / "train.csv", 1, with_cell(-1, "what"))
    assert read(kaggle).classes == CIFAR10_LABELS


def test_labels_txt_names_the_classes(kaggle: Path) -> None:
    names = [f"small thing {i}" for i in range(10)]
    (kaggle / "labels.txt").write_text("\n".join(names) + "\n\n")
    assert read(kaggle).classes == tuple(names)


def test_other_integers_are_their_own_names(tmp_path: Path) -> None:
    images, labels = pictures("train")
    write_csv(tmp_path / "train.csv", images, [3 if label < 5 else 7 for label in labels])
    dataset = read(tmp_path)
    assert dataset.classes == ("3", "7")
    assert set(dataset.train.labels) == {0, 1}


def test_test_file_without_labels_gives_no_test_split(kaggle: Path) -> None:
    write_csv(kaggle / "test.csv", pictures("test")[0], None)
    assert len(read(kaggle).train) == 108
    assert dataset.load_test(kaggle, 32, RULE) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_cell(5, "256"), ["row 4", "column 6", "'256'", "0..255"]),
        (with_cell(0, "-1"), ["row 4", "column 1", "'-1'"]),
        (with_cell(7, "1.5"), ["row 4", "column 8", "'1.5'"]),
        (with_cell(7, ""), ["row 4", "column 8", "''"]),
        (with_cell(-1, ""), ["row 4", "label ''"]),
        (with_cell(-1, "cat"), ["row 4", "label 'cat'"]),
        (with_cell(-1, "2.5"), ["row 4", "label '2.5'"]),
        (with_cell(-1, "-3"), ["row 4", "label '-3'"]),
        (lambda cells: cells[:-2], ["row 4", "3071 columns", "3073"]),
        (lambda cells: [*cells, "1"], ["row 4", "3074 columns", "3073"]),
    ],
)
def test_bad_row_is_named(kaggle: Path, change: Change, words: list[str]) -> None:
    edit(kaggle / "train.csv", 4, change)
    with pytest.raises(TrainingError) as caught:
        read(kaggle)
    for word in ["train.csv", *words]:
        assert word in str(caught.value)


def test_trailing_comma_on_every_row_is_named(kaggle: Path) -> None:
    header, *rows = (kaggle / "train.csv").read_text().splitlines()
    (kaggle / "train.csv").write_text("\n".join([header, *(row + "," for row in rows)]))
    with pytest.raises(TrainingError, match="row 2: 3074 columns; the header has 3073"):
        read(kaggle)


def test_bad_row_far_down_is_named(kaggle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.kaggle.CSV_CHUNK_ROWS", 10)
    edit(kaggle / "train.csv", 57, with_cell(9, "300"))
    with pytest.raises(TrainingError, match=r"train\.csv: row 57, column 10: '300'"):
        read(kaggle)


def test_wrong_column_count_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,b,label\n1,2,0\n")
    with pytest.raises(TrainingError, match=r"train\.csv: row 1: 3 columns; expected 3072"):
        read(tmp_path)


def test_missing_label_column_is_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", pictures("train")[0], None)
    with pytest.raises(TrainingError, match="label column is missing"):
        read(tmp_path)


@pytest.mark.parametrize("rows", [0, 1])
def test_empty_file_is_named(kaggle: Path, rows: int) -> None:
    path = kaggle / "test.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:rows]))
    with pytest.raises(TrainingError, match=r"test\.csv: the file holds no pictures"):
        read(kaggle)


def test_class_that_train_lacks_is_named_before_training(kaggle: Path) -> None:
    edit(kaggle / "test.csv", 3, with_cell(-1, "11"))
    with pytest.raises(TrainingError, match=r"test\.csv: row 3: label 11 is none of the 10"):
        read(kaggle)


def test_class_without_training_pictures_is_named(batches: Path) -> None:
    folder = batches / "cifar-10-batches-py"
    images, labels = pictures("train")
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    only = {b"data": rows, b"labels": [min(label, 8) for label in labels]}
    (folder / "data_batch_1").write_bytes(pickle.dumps(only, 2))
    with pytest.raises(TrainingError, match="class 'truck' has no training pictures"):
        read(batches)


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


def test_pickle_that_calls_a_function_is_refused(batches: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    (batches / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps({b"data": Evil()}))
    with pytest.raises(TrainingError, match="data_batch_1: not a CIFAR-10 batch file"):
        read(batches)
    assert not (tmp_path / "owned").exists()


def test_folder_without_a_known_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"found neither train\.csv"):
        read(tmp_path)
    with pytest.raises(TrainingError, match="no such folder"):
        read(tmp_path / "nowhere")


def test_failed_download_says_what_else_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("no network")

    monkeypatch.setattr("keras.datasets.cifar10.load_data", fail)
    with pytest.raises(TrainingError, match=r"no network.*Name a folder with --data"):
        dataset.load(None, 32, RULE)


def test_without_a_folder_keras_provides_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_data() -> object:  # as keras.datasets.cifar10 gives it: labels in a column
        both = (pictures("train"), pictures("test"))
        return tuple((images, np.array(labels)[:, None]) for images, labels in both)

    monkeypatch.setattr("keras.datasets.cifar10.load_data", load_data)
    data, test = dataset.load(None, 32, RULE), dataset.load_test(None, 32, RULE)
    assert data.classes == CIFAR10_LABELS
    assert len(data.train) == 108
    assert test is not None
    assert len(test) == 40
