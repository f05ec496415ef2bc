import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.conftest import FOLDERS, change_card
from training.__main__ import main
from training.data.dataset import DataSet
from training.errors import TrainingError
from training.publish import artifact, readings
from training.publish.artifact import Artifact
from training.publish.card import Readings
from training.study import compare
from training.study.compare import Comparison, Contender
from training.train.checkpoint import Run

Copy = Callable[..., Contender]


@pytest.fixture
def copy(trained: Run, tmp_path: Path) -> Copy:
    """Makes a contender like the trained one, with changes to its card."""

    def make(name: str, **changes: object) -> Contender:
        folder = shutil.copytree(trained.folder / "artifact", tmp_path / name)
        change_card(Artifact(folder), lambda card: card.update(changes))
        return compare.find(str(folder), Path("models"))

    return make


@pytest.fixture(scope="module")
def comparison(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """The trained network, as its run folder and as one of two versions of `cifar10`."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(trained.folder / "artifact", models / "cifar10" / "7")
    found = [compare.find(what, models) for what in ("7", str(trained.folder))]
    return compare.compare(found, FOLDERS)


def test_figures_are_those_of_the_card(
    trained: Run, sample: DataSet, comparison: Comparison
) -> None:
    assert (comparison.split, comparison.pictures) == ("validation", 12)
    card = artifact.of_run(trained.folder).read_card()
    known = card.metrics["model.onnx"]["validation"]
    for label in ("cifar10/7", str(trained.folder)):
        row = comparison.figures.loc[label]
        assert row["accuracy"] == known.accuracy
        assert row["log_loss"] == pytest.approx(known.log_loss, rel=1e-6)
        assert row["calibration_error"] == known.expected_calibration_error
        assert row["bytes"] == card.files["model.onnx"].bytes
        assert 0 < row["low"] < row["accuracy"] < row["high"] < 1
    recall = comparison.per_class.iloc[:, 0].to_numpy()
    assert recall[sample.validation.labels].mean() == pytest.approx(known.accuracy)
    assert (comparison.latency["min"] > 0).all()


def test_interval_is_wilsons(comparison: Comparison) -> None:
    row, n, z = comparison.figures.iloc[0], comparison.pictures, 1.959964
    share = row["accuracy"]
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    assert (row["low"], row["high"]) == pytest.approx((centre - half, centre + half))


def test_equal_networks_are_called_equal(comparison: Comparison) -> None:
    assert len(comparison.pairs) == 1
    assert comparison.pairs[0].endswith("are right on the same pictures.")


@pytest.mark.parametrize(
    ("won", "lost", "verdict"),
    [
        (8, 1, "b is better (p = 0.039,"),
        (1, 8, "a is better (p = 0.039,"),
        (7, 2, "this may be chance (p = 0.180,"),
        (40, 0, "b is better (p < 0.001,"),
    ],
)
def test_mcnemars_test_in_words(won: int, lost: int, verdict: str) -> None:
    first = np.array([False] * won + [True] * lost + [True] * 50)
    second = np.array([True] * won + [False] * lost + [True] * 50)
    said = compare.difference("a", "b", first, second)
    assert f"b is right on {won} pictures that a gets wrong" in said
    assert f"wrong on {lost} that a gets right" in said
    assert verdict in said


def test_classes_show_their_change(comparison: Comparison) -> None:
    better = comparison.per_class.copy()
    better.loc["cat"] = [0.5, 0.75]
    changed = Comparison(**vars(comparison) | {"per_class": better})
    row = compare.tables(changed)["Accuracy of each class"].loc["cat"]
    assert list(row) == ["50.00%", "75.00% (+25.0)"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["a", "b"]}, "two: its labels are not those of"),
        ({"input": {"height": 64, "width": 64}}, "two: its input size is not that of"),
    ],
)
def test_other_kind_of_model_is_refused(copy: Copy, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        compare.compare([copy("one"), copy("two", **changes)], FOLDERS)


def test_other_kind_of_data_is_refused(copy: Copy) -> None:
    labels = [f"class {number}" for number in range(10)]
    with pytest.raises(TrainingError, match="its labels are not the classes of the data"):
        compare.compare([copy("one", labels=labels)], FOLDERS)


def test_validation_is_used_where_nothing_is_tested(copy: Copy, tmp_path: Path) -> None:
    shutil.copytree(FOLDERS / "train", tmp_path / "data" / "train")
    trained_on_it = copy("one")
    assert compare.compare([trained_on_it], tmp_path / "data").split == "validation"
    data = trained_on_it.card.data.to_json() | {"fingerprint": "another"}
    stranger = copy("two", data=data)
    with pytest.raises(TrainingError, match="two: was trained on other data"):
        compare.compare([trained_on_it, stranger], tmp_path / "data")


def test_test_split_is_for_published_versions_and_each_reading_of_a_run_is_recorded(
    trained: Run, copy: Copy, tmp_path: Path
) -> None:
    assert compare.compare([copy("published")], FOLDERS).split == "test"
    shutil.copytree(trained.folder, tmp_path / "runs" / "run")
    one = compare.find(str(tmp_path / "runs" / "run"), tmp_path)
    before = readings.count(tmp_path / "runs" / "run")
    assert before == Readings(run=1, all_runs=1)  # by `evaluate`
    assert compare.compare([one], FOLDERS).split == "validation"
    assert readings.count(tmp_path / "runs" / "run") == before
    assert compare.compare([one], FOLDERS, test=True).split == "test"
    assert readings.count(tmp_path / "runs" / "run") == Readings(run=2, all_runs=2)


def test_file_that_its_card_does_not_know_is_refused(copy: Copy, tmp_path: Path) -> None:
    stranger = copy("one").model.with_name("another.onnx")
    stranger.write_bytes(b"something else")
    with pytest.raises(TrainingError, match="not among the files of"):
        compare.find(str(stranger), tmp_path)


def test_missing_version_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cifar10/3: nothing exported here"):
        compare.find("3", tmp_path)


def test_command_prints_the_tables_and_writes_a_page_of_its_own(
    trained: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(trained.folder)
    command = [
        "compare",
        "artifact/model.onnx",
        ".",
        "--data",
        str(FOLDERS),
        "--runs",
        str(tmp_path),
    ]
    monkeypatch.setattr(sys, "argv", ["python -m training", *command])
    assert main() == 0
    printed = capsys.readouterr().out
    assert printed.startswith("validation split, 12 pictures")
    assert "95% interval" in printed
    (page,) = (tmp_path / "compare").iterdir()
    assert str(page) in printed
    html = page.read_text()
    assert "GFLOP" in html
    assert html.count('src="data:image/png;base64,') == html.count("<img") == 1
    assert "http" not in html
