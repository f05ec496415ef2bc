"""Training measures the answers that the service gives, second views and label sets included."""

from pathlib import Path

import numpy as np
import pytest

from service.inference.classification import Classification
from service.inference.classifier import Classifier
from tests.service.models import write_model
from training.measure import label_sets
from training.measure.predict import predict
from training.measure.second_view import SecondView, as_served

IMAGES = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), np.uint8)
LABELS = np.arange(200) % 3
RULE = SecondView(below=0.4, temperature=0.6)
THRESHOLDS = (0.3, 0.34, 0.4)


@pytest.fixture
def answers(tmp_path: Path) -> list[Classification]:
    """Of the service, for a model that sees the left half of a picture."""
    sets = {"0.95": list(THRESHOLDS)}
    write_model(tmp_path, second_view=RULE.to_json(), label_sets=sets)
    classifier = Classifier.open(tmp_path, "tiny", provider="cpu")
    found = classifier.classify(list(IMAGES))
    return [answer for answer in found if isinstance(answer, Classification)]


def test_both_packages_give_the_same_answers(answers: list[Classification], tmp_path: Path) -> None:
    model = tmp_path / "tiny" / "1" / "model.onnx"
    first = predict(model, IMAGES)
    served = as_served(RULE, model, IMAGES, first)
    twice = RULE.asks(first.probabilities)
    assert 20 < twice.sum() < 180
    assert [answer.second_view == "computed" for answer in answers] == twice.tolist()
    np.testing.assert_allclose(
        np.stack([answer.probabilities for answer in answers]), served.probabilities, atol=1e-6
    )
    energies = [answer.energy for answer in answers]
    np.testing.assert_allclose(energies, served.energy, rtol=1e-6)


def test_both_packages_make_the_same_sets(answers: list[Classification], tmp_path: Path) -> None:
    model = tmp_path / "tiny" / "1" / "model.onnx"
    served = as_served(RULE, model, IMAGES, predict(model, IMAGES))
    figures = label_sets.measure(served.probabilities, LABELS, THRESHOLDS, ("red", "green", "blue"))
    sets = [answer.label_set(THRESHOLDS) for answer in answers]
    assert figures.mean_size == pytest.approx(np.mean([len(one) for one in sets]))
    right = [
        answer.labels[label] in one
        for answer, label, one in zip(answers, LABELS.tolist(), sets, strict=True)
    ]
    assert figures.coverage == pytest.approx(np.mean(right))
    assert 0.1 < figures.coverage < 0.9
