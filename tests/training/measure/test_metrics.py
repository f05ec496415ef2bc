import json
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import FOLDERS
from training import pipeline
from training.data.dataset import DataSet
from training.errors import TrainingError
from training.measure import metrics
from training.measure.metrics import Predictions
from training.publish import recheck, repository
from training.train.checkpoint import Run

PROBABILITIES = np.array(
    [[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.1, 0.3, 0.6]], np.float32
)
LABELS = np.array([0, 1, 1, 1])


def test_figures_of_a_hand_made_case() -> None:
    energy = np.array([1, 2, 3, 4], np.float32)
    figures = metrics.metrics(Predictions(PROBABILITIES, energy), LABELS, 2.5)
    assert figures["pictures"] == 4
    assert figures["accuracy"] == 0.5
    assert figures["top_2_accuracy"] == 1.0
    assert figures["unfamiliar_share"] == 0.5
    assert figures["log_loss"] == pytest.approx(-np.log([0.9, 0.1, 0.5, 0.3]).mean(), rel=1e-5)
    # bins: {0.9, 0.9} half right, {0.5} right, {0.6} wrong
    assert figures["expected_calibration_error"] == pytest.approx((0.8 + 0.5 + 0.6) / 4)


def test_perfectly_calibrated_answers_have_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 100_000)
    labels = (rng.random(100_000) > confidence).astype(int)
    probabilities = np.stack([confidence, 1 - confidence], axis=1).astype(np.float32)
    table = metrics.reliability(probabilities, labels)
    assert metrics.expected_calibration_error(table) < 0.01
    assert table["pictures"].sum() == 100_000


def test_certain_answer_falls_into_the_last_bin() -> None:
    table = metrics.reliability(np.array([[1.0, 0.0]], np.float32), np.array([0]))
    assert table["bin"].tolist() == [metrics.CALIBRATION_BINS - 1]


def test_per_class_table() -> None:
    table = metrics.per_class(PROBABILITIES, LABELS, ("a", "b", "c"))
    assert list(table.loc["a"]) == [0.5, 1.0, pytest.approx(2 / 3), 1]
    assert table.loc["c", "precision"] == 0


def test_batch_size_changes_no_answer(trained: Run, sample: DataSet) -> None:
    model = repository.of_run(trained.folder).model
    one, many = (metrics.predict(model, sample.validation.images, batch=b) for b in (1, 64))
    np.testing.assert_allclose(one.probabilities, many.probabilities, atol=1e-6)


def test_evaluation_is_written_for_machines(trained: Run) -> None:
    found = json.loads((trained.folder / "evaluation.json").read_text())
    assert np.sum(found["test"]["confusion_matrix"]) == 40
    assert set(found["test"]["per_class"]["cat"]) == {"precision", "recall", "f1", "pictures"}
    card = repository.of_run(trained.folder).read_card()
    metrics = card["metrics"]["model.onnx"]["test"]
    assert metrics["accuracy"] == found["test"]["accuracy"]
    assert all(isinstance(value, int | float) for value in metrics.values())
    for split, pictures in (("validation", 12), ("test", 40)):
        assert card["robustness"][split]["blur"]["pictures"] == pictures
        assert card["robustness"][split]["jpeg_40"]["unchanged"] == found[split]["accuracy"]
        assert 0 <= card["unfamiliar"]["auroc"][split] <= 1
    assert len(card["unfamiliar"]["per_kind"]) == 7
    assert set(card["reliability"]) == set(card["files"])
    assert card["reliability"]["model.onnx"]["test"] == found["test"]["reliability"]


def test_summary_says_when_there_are_no_test_labels() -> None:
    figures = {"accuracy": 0.5, "pictures": 4, "log_loss": 1.0, "expected_calibration_error": 0.1}
    lines = pipeline.summary({"validation": figures})
    assert "50.00%" in lines[0]
    assert "no labelled test pictures" in lines[1]


def test_spread_over_seeds() -> None:
    results = [{"test": {"accuracy": value}} for value in (0.8, 0.82, 0.84)]
    table = pipeline.spread([0, 1, 2], results)["test"]
    assert table["mean"] == pytest.approx(0.82)
    assert table["standard_deviation"] == pytest.approx(0.02)


def test_model_is_named_after_its_data(sample: DataSet) -> None:
    assert pipeline.model_name(sample, FOLDERS) == "cifar10"
    assert pipeline.model_name(sample, None) == "cifar10"


@pytest.mark.parametrize("part", [("robustness", "test", "blur"), ("unfamiliar", "auroc")])
def test_wrong_figure_of_a_card_is_found(
    trained: Run, tmp_path: Path, part: tuple[str, ...]
) -> None:
    published = repository.Artifact(repository.publish(repository.of_run(trained.folder), tmp_path))
    card = figures = published.read_card()
    for key in part:
        figures = figures[key]
    key = "accuracy" if "accuracy" in figures else "test"
    figures[key] += 0.01
    published.write_card(card)
    with pytest.raises(TrainingError, match=rf"card\.json: {' '.join(part)} {key} is .*, the card"):
        recheck.recheck(tmp_path, FOLDERS)
