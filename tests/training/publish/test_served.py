"""Figures with second views and of label sets: of a small network, and checked again."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.helper import set_model_props

from tests.training.conftest import FOLDERS, change_card
from training.data import dataset
from training.data.dataset import DataSet, Split
from training.export.calibration import Calibration
from training.export.outputs import Fitted
from training.measure.predict import Predictions, predict
from training.measure.second_view import SecondView, as_served
from training.presets import ResizeRule
from training.publish import differences, recheck, repository, served
from training.publish.artifact import Artifact, sha256

FILE = "model.onnx"
RULE = SecondView(below=0.5, temperature=0.9)
SETS = {0.9: (0.1,) * 10, 0.95: (0.02,) * 10}


@pytest.fixture
def splits(sample: DataSet) -> dict[str, Split]:
    test = dataset.load_test(FOLDERS, 32, ResizeRule())
    assert test is not None
    return {"validation": sample.validation, "test": test}


@pytest.fixture
def changed(finished: Artifact) -> Artifact:
    """The artifact of the network, as if its `model.onnx` had second views and label sets."""
    proto = onnx.load(finished.model)
    before = {entry.key: entry.value for entry in proto.metadata_props}
    added = Fitted(Calibration(), float(before["energy_threshold"]), RULE, SETS).properties()
    set_model_props(proto, before | added)
    onnx.save(proto, finished.model)

    def describe(card: dict[str, Any]) -> None:
        card["files"][FILE] |= {
            "sha256": sha256(finished.model),
            "bytes": finished.model.stat().st_size,
            "second_view": RULE.to_json(),
            "label_sets": {str(coverage): own for coverage, own in SETS.items()},
        }

    change_card(finished, describe)
    return finished


def answers(found: Artifact, splits: Mapping[str, Split]) -> dict[str, dict[str, Predictions]]:
    return {
        name: {split: predict(found.folder / name, of.images) for split, of in splits.items()}
        for name in found.read_card().files
    }


@pytest.fixture
def measured(changed: Artifact, splits: dict[str, Split]) -> dict[str, Any]:
    own = answers(changed, splits)
    return served.figures(changed.folder, changed.read_card(), own, splits)._asdict()


@pytest.fixture
def published(changed: Artifact, splits: dict[str, Split], tmp_path: Path) -> Artifact:
    card = changed.read_card()
    figures = served.figures(changed.folder, card, answers(changed, splits), splits)
    changed.write_card(card.model_copy(update=figures._asdict()))
    return Artifact(repository.publish(changed, tmp_path / "models"))


def test_files_with_a_rule_are_measured_with_second_views(
    changed: Artifact, splits: dict[str, Split]
) -> None:
    first = answers(changed, splits)
    found = served.figures(changed.folder, changed.read_card(), first, splits)
    assert found.as_served is not None
    assert list(found.as_served) == [FILE]
    assert list(found.as_served[FILE]) == ["validation", "test"]
    figures, own = found.as_served[FILE]["test"], first[FILE]["test"]
    assert figures.second_views == np.mean(own.probabilities.max(axis=1) < RULE.below)
    twice = as_served(RULE, changed.model, splits["test"].images, own)
    right = twice.probabilities.argmax(axis=1) == splits["test"].labels
    assert figures.accuracy == right.mean()


def test_label_sets_are_measured_on_the_test_split_alone(
    changed: Artifact, splits: dict[str, Split]
) -> None:
    found = served.figures(changed.folder, changed.read_card(), answers(changed, splits), splits)
    assert found.label_sets is not None
    assert list(found.label_sets) == [FILE]
    assert list(found.label_sets[FILE]) == ["test"]
    few, many = found.label_sets[FILE]["test"].values()
    assert few.coverage <= many.coverage
    assert few.mean_size < many.mean_size
    assert few.without_second_views is not None
    del splits["test"]
    of_validation = answers(changed, splits)
    assert served.figures(changed.folder, changed.read_card(), of_validation, splits)[1] is None


def test_file_without_a_rule_has_no_such_figures(
    finished: Artifact, splits: dict[str, Split]
) -> None:
    own = answers(finished, splits)
    assert served.figures(finished.folder, finished.read_card(), own, splits) == (None, None)


def test_right_figures_pass_verify_models(published: Artifact) -> None:
    assert recheck.recheck(published.folder.parents[1], FOLDERS)


@pytest.mark.parametrize(
    "path",
    [
        ("as_served", FILE, "test", "expected_calibration_error"),
        ("label_sets", FILE, "test", "0.9", "coverage"),
    ],
)
def test_wrong_figure_is_found(
    published: Artifact, measured: dict[str, Any], path: tuple[str, ...]
) -> None:
    def change(card: dict[str, Any]) -> None:
        for key in path[:-1]:
            card = card[key]
        card[path[-1]] += 0.05

    change_card(published, change)
    (found,) = differences.between(published.read_card(), measured)
    assert re.match(f"{path[0]} {FILE} test .*{path[-1]} is .*, the card says", found)


@pytest.mark.parametrize(
    "path",
    [
        ("as_served",),
        ("as_served", FILE, "validation"),
        ("label_sets",),
        ("label_sets", FILE, "test", "0.95"),
    ],
)
def test_missing_figure_is_found(
    published: Artifact, measured: dict[str, Any], path: tuple[str, ...]
) -> None:
    def remove(card: dict[str, Any]) -> None:
        for key in path[:-1]:
            card = card[key]
        del card[path[-1]]

    change_card(published, remove)
    (found,) = differences.between(published.read_card(), measured)
    assert re.match(f"{path[0]}.*: the card does not have", found)
