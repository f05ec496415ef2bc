from pathlib import Path

import numpy as np
import pytest

from training.measure import second_view
from training.measure.predict import Predictions
from training.measure.second_view import SecondView

FIRST = np.array([[0.5, 0.3, 0.2], [0.9, 0.05, 0.05], [0.2, 0.4, 0.4]], np.float32)
ENERGY = np.array([1, 2, 3], np.float32)
OTHER = np.array([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1]], np.float32)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 2, 4, 3), np.uint8)
RULE = SecondView(below=0.9, temperature=0.5)


def test_unsure_pictures_alone_are_computed_once_more_mirrored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[np.ndarray] = []

    def predict(_model: Path, images: np.ndarray) -> Predictions:
        asked.append(images)
        return Predictions(OTHER, np.zeros(2, np.float32))

    monkeypatch.setattr(second_view, "predict", predict)
    first = Predictions(FIRST, ENERGY)
    served = second_view.as_served(RULE, Path("model.onnx"), IMAGES, first)
    np.testing.assert_array_equal(asked[0], IMAGES[[0, 2]][:, :, ::-1])
    squares = ((FIRST[[0, 2]] + OTHER) / 2) ** 2
    expected = squares / squares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(served.probabilities[[0, 2]], expected, rtol=1e-5)
    np.testing.assert_array_equal(served.probabilities[1], FIRST[1])
    np.testing.assert_array_equal(served.energy, ENERGY)
    np.testing.assert_array_equal(first.probabilities, FIRST)


@pytest.mark.parametrize("rule", [None, SecondView(below=0.3, temperature=1)])
def test_answers_without_second_views_are_the_first_ones(rule: SecondView | None) -> None:
    first = Predictions(FIRST, ENERGY)
    assert second_view.as_served(rule, Path("missing.onnx"), IMAGES, first) is first


def test_figures_say_how_many_pictures_are_computed_twice() -> None:
    served = FIRST[[0, 1, 1]]
    figures = second_view.served_metrics(
        RULE,
        Predictions(FIRST, ENERGY),
        Predictions(served, ENERGY),
        np.array([0, 0, 0]),
        energy_threshold=1.5,
    )
    assert figures.second_views == pytest.approx(2 / 3)
    assert figures.accuracy == 1
    assert figures.unfamiliar_share == pytest.approx(1 / 3)
