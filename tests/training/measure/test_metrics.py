import numpy as np
import pytest

from training.measure import metrics
from training.measure.predict import Predictions

PROBABILITIES = np.array(
    [[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.1, 0.3, 0.6]], np.float32
)
LABELS = np.array([0, 1, 1, 1])


def test_figures_of_a_hand_made_case() -> None:
    energy = np.array([1, 2, 3, 4], np.float32)
    figures = metrics.metrics(Predictions(PROBABILITIES, energy), LABELS, 2.5)
    assert figures.pictures == 4
    assert figures.accuracy == 0.5
    assert figures.top_k() == {2: 1.0}
    assert figures.unfamiliar_share == 0.5
    assert figures.log_loss == pytest.approx(-np.log([0.9, 0.1, 0.5, 0.3]).mean(), rel=1e-5)
    # bins: {0.9, 0.9} half right, {0.5} right, {0.6} wrong
    assert figures.expected_calibration_error == pytest.approx((0.8 + 0.5 + 0.6) / 4)


def test_perfectly_calibrated_answers_have_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 100_000)
    labels = (rng.random(100_000) > confidence).astype(int)
    probabilities = np.stack([confidence, 1 - confidence], axis=1).astype(np.float32)
    bins = metrics.reliability(probabilities, labels)
    assert metrics.expected_calibration_error(bins) < 0.01
    assert sum(one.pictures for one in bins) == 100_000


def test_certain_answer_falls_into_the_last_bin() -> None:
    (only,) = metrics.reliability(np.array([[1.0, 0.0]], np.float32), np.array([0]))
    assert only.bin == metrics.CALIBRATION_BINS - 1


def test_per_class_table() -> None:
    rows = metrics.per_class(PROBABILITIES, LABELS, ("a", "b", "c"))
    assert list(rows) == ["a", "b", "c"]
    assert rows["a"].to_json() == {
        "precision": 0.5,
        "recall": 1.0,
        "f1": pytest.approx(2 / 3),
        "pictures": 1,
    }
    assert rows["c"].precision == 0


def test_answers_of_two_classes_have_no_top_k() -> None:
    predictions = Predictions(np.array([[0.9, 0.1]], np.float32), np.ones(1, np.float32))
    figures = metrics.metrics(predictions, np.array([0]), 0.5)
    assert figures.top_k() == {}
    assert "top_2_accuracy" not in figures.to_json()
