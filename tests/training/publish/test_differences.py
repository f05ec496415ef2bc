"""Faults that are planted into a card: the comparison with what is measured again finds each."""

import json
from typing import Any

import pytest

from tests.training.conftest import FOLDERS
from training.data import dataset
from training.data.dataset import DataSet
from training.presets import ResizeRule
from training.publish import artifact, differences, recheck
from training.publish.card import Card, ExportedCard
from training.publish.unmeasured import REASONS
from training.train.checkpoint import Run

Path = tuple[str | int, ...]


@pytest.fixture(scope="module")
def right(trained: Run) -> Card:
    return artifact.of_run(trained.folder).read_card()


@pytest.fixture(scope="module")
def measured(trained: Run, right: Card, sample: DataSet) -> dict[str, Any]:
    test = dataset.load_test(FOLDERS, 32, ResizeRule())
    assert test is not None
    splits = {"validation": sample.validation, "test": test}
    return recheck.measure(artifact.of_run(trained.folder), right, splits)


def within(card: Any, path: Path) -> tuple[Any, str | int]:  # noqa: ANN401
    """The place of a figure: what holds it, and its key there."""
    *parents, last = path
    for key in parents:
        card = card[key]
    return card, last


def test_right_figures_do_not_differ(right: Card, measured: dict[str, Any]) -> None:
    assert list(differences.between(right, measured)) == []


def test_every_figure_of_a_card_is_measured_again_or_is_said_not_to_be(
    measured: dict[str, Any],
) -> None:
    figures = Card.model_fields.keys() - (ExportedCard.model_fields.keys() - {"parity"})
    assert figures <= measured.keys() | REASONS.keys()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("robustness", "test", "blur", "accuracy"), "robustness test blur accuracy"),
        (("unfamiliar", "auroc", "test"), "unfamiliar auroc test"),
        (("metrics", "model.int8.onnx", "test", "accuracy"), "metrics model.int8.onnx test acc"),
        (("metrics", "model.onnx", "test", "pictures"), "metrics model.onnx test pictures"),
        (("reliability", "model.onnx", "test", 0, "confidence"), "reliability model.onnx test bin"),
        (("agreement", "model.int8.onnx", "largest_difference"), "agreement model.int8.onnx la"),
        (("agreement", "model.int8.onnx", "same_first_class"), "agreement model.int8.onnx same"),
        (("cost", "flops"), "cost flops"),
    ],
)
def test_wrong_figure_is_found(
    right: Card, measured: dict[str, Any], path: Path, words: str
) -> None:
    values = json.loads(json.dumps(right.to_json()))
    place, last = within(values, path)
    place[last] += 1 if isinstance(place[last], int) else -0.05
    found = list(differences.between(Card.model_validate(values), measured))
    assert found
    assert all(line.startswith(words) and ", the card says " in line for line in found)


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        (("metrics", "model.int8.onnx"), "metrics: the card does not have model.int8.onnx"),
        (("metrics", "model.onnx", "test"), "metrics model.onnx: the card does not have test"),
        (("metrics", "model.onnx", "test", "top_3_accuracy"), "does not have top_3_accuracy"),
        (("reliability", "model.fp16.onnx"), "reliability: the card does not have model.fp16.onnx"),
        (("reliability", "model.onnx", "test"), "reliability model.onnx: the card does not have"),
        (("robustness", "validation"), "robustness: the card does not have validation"),
        (("robustness", "test", "noise"), "robustness test: the card does not have noise"),
        (("unfamiliar", "per_kind", "photographs"), "per_kind: the card does not have photographs"),
        (("unfamiliar", "auroc", "test"), "unfamiliar auroc: the card does not have test"),
        (("agreement", "model.int8.onnx"), "agreement: the card does not have model.int8.onnx"),
    ],
)
def test_missing_figure_is_found(
    right: Card, measured: dict[str, Any], path: Path, missing: str
) -> None:
    values = json.loads(json.dumps(right.to_json()))
    place, last = within(values, path)
    del place[last]
    (found,) = differences.between(Card.model_validate(values), measured)
    assert missing in found


def test_figure_that_is_not_measured_is_found(right: Card, measured: dict[str, Any]) -> None:
    values = json.loads(json.dumps(right.to_json()))
    values["robustness"]["test"]["rain"] = values["robustness"]["test"]["blur"]
    (found,) = differences.between(Card.model_validate(values), measured)
    assert found == "robustness test: the card has rain, which is not measured"


def test_bin_that_is_missing_is_found(right: Card, measured: dict[str, Any]) -> None:
    values = json.loads(json.dumps(right.to_json()))
    number = values["reliability"]["model.onnx"]["test"].pop(0)["bin"]
    found = list(differences.between(Card.model_validate(values), measured))
    assert any(x.startswith(f"reliability model.onnx test bin {number} pictures") for x in found)


def test_of_files_that_are_not_measured_nothing_is_missing(right: Card) -> None:
    some = {"metrics": {"model.onnx": {"test": right.metrics["model.onnx"]["test"]}}}
    assert list(differences.between(right, some)) == []
