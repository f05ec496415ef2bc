"""What ships is what the cards say, on real pictures."""

import json
import os
import shutil
from pathlib import Path

import pytest

from service.inference.classification import Classification
from service.inference.classifier import Classifier
from training.publish import recheck

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
VERSIONS = sorted(path.parent for path in MODELS.glob("*/[1-9]*/card.json"))


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


def test_default_is_accurate_calibrated_small_and_recognises_unfamiliar_pictures() -> None:
    card = json.loads((MODELS / "cifar10" / "2" / "card.json").read_text())
    assert card["training"]["preset"] == "default"
    float32, int8 = (card["metrics"][f"model{kind}.onnx"]["test"] for kind in ("", ".int8"))
    assert float32["accuracy"] >= 0.91
    assert float32["accuracy"] - int8["accuracy"] <= card["accuracy_loss_limit"]
    assert float32["expected_calibration_error"] <= 0.015
    assert card["cost"]["flops"] <= 0.30e9
    assert card["unfamiliar"]["auroc"]["test"] >= 0.90


@pytest.mark.long
@pytest.mark.full_data
@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_figures_of_every_card_are_measured_again(version: Path, tmp_path: Path) -> None:
    folder = os.environ.get("CIFAR10_DATA")
    if not folder:
        pytest.skip("CIFAR10_DATA is not set: no folder with the whole of CIFAR-10")
    shutil.copytree(version, tmp_path / version.relative_to(MODELS))
    lines = recheck.recheck(tmp_path, Path(folder), thorough=False)
    # A float32 and an int8 file each; those in float16 are for CUDA.
    assert [line.split(": ")[1].split()[0] for line in lines] == ["test"] * 2
