import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax

from training.export import label_sets_fit

RNG = np.random.default_rng(0)


def drawn(count: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Probabilities of a classifier that is far too sure, and the right classes."""
    labels = RNG.integers(0, 4, count)
    scores = RNG.normal(0, 1, (count, 4))
    scores[np.arange(count), labels] += np.array([2.0, 1.0, 0.5, 3.0])[labels]
    return np.asarray(softmax(5 * scores, axis=1), np.float32), labels


@pytest.mark.parametrize("coverage", label_sets_fit.COVERAGES)
def test_every_class_is_covered_as_often_as_stated(coverage: float) -> None:
    thresholds = label_sets_fit.fit(*drawn(20_000))
    assert thresholds is not None
    probabilities, labels = drawn(40_000)
    covered = (
        probabilities[np.arange(len(labels)), labels]
        >= np.array(thresholds[coverage], np.float32)[labels]
    )
    for number in range(4):
        assert covered[labels == number].mean() == pytest.approx(coverage, abs=0.012)


def test_sets_of_few_pictures_cover_at_least_what_they_state() -> None:
    found = []
    for _ in range(300):
        thresholds = label_sets_fit.fit(*drawn(4 * 40))
        assert thresholds is not None
        probabilities, labels = drawn(400)
        right = probabilities[np.arange(len(labels)), labels]
        found.append(np.mean(right >= np.array(thresholds[0.9], np.float32)[labels]))
    assert 0.9 <= np.mean(found) <= 0.94


@pytest.mark.parametrize(
    ("pictures", "coverages"),
    [(8, None), (9, [0.9]), (18, [0.9]), (19, [0.9, 0.95]), (99, [0.9, 0.95, 0.99])],
)
def test_coverage_needs_pictures_of_every_class(
    pictures: int, coverages: list[float] | None
) -> None:
    labels = np.repeat(np.arange(3), [500, 500, pictures])
    found = label_sets_fit.fit(np.full((len(labels), 3), 1 / 3, np.float32), labels)
    assert (found and list(found)) == coverages


def test_halves_have_the_same_share_of_each_class_and_no_picture_in_common() -> None:
    labels = RNG.permutation(np.repeat(np.arange(3), [701, 400, 2]))
    seen, unseen = label_sets_fit.halves(labels)
    assert sorted([*seen, *unseen]) == list(range(len(labels)))
    difference = np.bincount(labels[seen], minlength=3) - np.bincount(labels[unseen], minlength=3)
    assert np.abs(difference).max() <= 1


def test_few_pictures_are_all_for_the_calibration() -> None:
    seen, unseen = label_sets_fit.halves(np.zeros(999, np.int64))
    assert (len(seen), len(unseen)) == (999, 0)
