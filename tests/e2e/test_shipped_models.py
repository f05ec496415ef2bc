"""What ships is what the cards say, on real pictures."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from service.inference.classification import Classification
from service.inference.classifier import Classifier
from tests.shipped import MODELS, NEWEST
from training.publish import recheck

ROOT = MODELS.parent
VERSIONS = sorted(path.parent for path in MODELS.glob("*/[1-9]*/card.json"))
ASKED = ("label_sets", "seeds", "seeds_as_served", "photographs", "test_readings")
# Version 1 is older than what is asked for here, and version 3 was trained with one seed.
LACKING = {
    "cifar10-1": [f"no {key}" for key in ASKED],
    "cifar10-3": ["no seeds", "no seeds_as_served"],
}


def test_photograph_of_a_cat_is_a_cat() -> None:
    photograph = (ROOT / "tests" / "data" / "cat.jpg").read_bytes()
    answer = Classifier.open(MODELS, provider="cpu").classify([photograph])[0]
    assert isinstance(answer, Classification)
    assert answer.top(1)[0].label == "cat"


def test_sample_of_test_pictures_is_mostly_right() -> None:
    classifier = Classifier.open(MODELS, provider="cpu")
    files = sorted((ROOT / "tests" / "data" / "cifar10" / "test").glob("*/*.jpg"))
    answers = classifier.classify([path.read_bytes() for path in files])
    right = [
        isinstance(answer, Classification) and answer.top(1)[0].label == path.parent.name
        for path, answer in zip(files, answers, strict=True)
    ]
    assert len(right) == 40
    assert sum(right) >= 30


def test_baseline_beats_the_article() -> None:
    card = json.loads((MODELS / "cifar10" / "1" / "card.json").read_text())
    assert card["training"]["preset"] == "baseline"
    assert card["metrics"]["model.onnx"]["test"]["accuracy"] >= 0.78


def test_newest_is_accurate_calibrated_small_and_recognises_unfamiliar_pictures() -> None:
    card = json.loads((NEWEST / "card.json").read_text())
    for measured, accuracy in (("metrics", 0.92), ("as_served", 0.925)):
        float32, int8 = (card[measured][f"model{kind}.onnx"]["test"] for kind in ("", ".int8"))
        assert float32["accuracy"] >= accuracy
        assert float32["accuracy"] - int8["accuracy"] <= card["accuracy_loss_limit"]
        assert max(it["expected_calibration_error"] for it in (float32, int8)) <= 0.01
    assert card["cost"]["flops"] <= 0.20e9
    assert card["unfamiliar"]["auroc"]["test"] >= 0.95
    assert card["photographs"]["model.int8.onnx"]["auroc"]["value"] >= 0.80


def faults(card: dict[str, Any]) -> list[str]:
    """What the card of a version that ships lacks, and which label sets do not keep their word."""
    found = [f"no {key}" for key in ASKED if key not in card]
    for file, of_split in card.get("label_sets", {}).items():
        for coverage, sets in of_split["test"].items():
            if sets["coverage"] < float(coverage) - 0.01:
                found.append(f"{file}: {sets['coverage']:.1%} in place of {coverage}")
            if sets["worst_class_coverage"] < float(coverage) - 0.05:
                found.append(f"{file}: {sets['worst_class']} has less than {coverage}")
    return found


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_card_has_all_figures_and_label_sets_keep_their_word(version: Path) -> None:
    card = json.loads((version / "card.json").read_text())
    assert faults(card) == LACKING.get(f"{version.parent.name}-{version.name}", [])


def test_label_sets_that_do_not_keep_their_word_are_found() -> None:
    kept = {"coverage": 0.941, "worst_class": "cat", "worst_class_coverage": 0.901}
    card: dict[str, Any] = dict.fromkeys(ASKED) | {"label_sets": {"a": {"test": {"0.95": kept}}}}
    assert faults(card) == []
    kept["coverage"] = 0.939
    assert faults(card) == ["a: 93.9% in place of 0.95"]
    kept |= {"coverage": 0.95, "worst_class_coverage": 0.899}
    assert faults(card) == ["a: cat has less than 0.95"]
    assert len(faults({})) == len(ASKED)


# In one test, because reading all pictures from CSV takes a third of its time.
@pytest.mark.long
@pytest.mark.full_data
def test_figures_of_every_card_are_measured_again() -> None:
    folder = os.environ.get("CIFAR10_DATA")
    if not folder:
        pytest.skip("CIFAR10_DATA is not set: no folder with the whole of CIFAR-10")
    lines = recheck.recheck(MODELS, Path(folder), thorough=False)
    # A float32 and an int8 file each; those in float16 are for CUDA.
    assert [line.split(": ")[1].split()[0] for line in lines] == ["test"] * 2 * len(VERSIONS)
