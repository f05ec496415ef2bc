from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.conftest import pictures, write_csv
from training.data import dataset
from training.data.layout import find_reader
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
