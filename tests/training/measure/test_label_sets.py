import numpy as np
import pytest

from training.measure import label_sets

PROBABILITIES = np.array(
    [[0.9, 0.1, 0.0], [0.5, 0.3, 0.2], [0.2, 0.7, 0.1], [0.1, 0.5, 0.4], [0.4, 0.3, 0.3]],
    np.float32,
)
LABELS = np.array([0, 1, 1, 2, 0])
CLASSES = ("cat", "dog", "fox")
THRESHOLDS = (0.5, 0.25, 0.45)  # sets: cat; cat, dog; dog; dog; dog


def test_coverage_size_and_worst_class_of_sets() -> None:
    found = label_sets.measure(PROBABILITIES, LABELS, THRESHOLDS, CLASSES)
    assert found.coverage == pytest.approx(3 / 5)
    assert (found.worst_class, found.worst_class_coverage) == ("fox", 0)
    assert found.mean_size == pytest.approx(6 / 5)
    assert found.empty == 0


def test_empty_sets_are_counted() -> None:
    found = label_sets.measure(PROBABILITIES, LABELS, (0.6, 0.6, 0.6), CLASSES)
    assert found.empty == pytest.approx(3 / 5)
    assert found.coverage == pytest.approx(2 / 5)


def test_threshold_that_is_reached_exactly_counts() -> None:
    exact = float(PROBABILITIES[3, 2])
    found = label_sets.measure(PROBABILITIES, LABELS, (0.5, 0.25, exact), CLASSES)
    assert found.worst_class_coverage > 0


def test_coverage_without_second_views_is_told_where_there_are_some() -> None:
    sets = {0.9: THRESHOLDS}
    plain = label_sets.measure_all(sets, PROBABILITIES, PROBABILITIES, LABELS, CLASSES)
    assert plain[0.9].without_second_views is None
    first = np.full_like(PROBABILITIES, 0.2)
    served = label_sets.measure_all(sets, PROBABILITIES, first, LABELS, CLASSES)
    assert served[0.9].without_second_views == 0
    assert served[0.9].coverage == plain[0.9].coverage
