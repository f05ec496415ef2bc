import numpy as np
import pytest

from training.measure import intervals


def test_shares_of_few_pictures_have_wide_intervals() -> None:
    few = intervals.share(np.array([True] * 3))
    assert (few.value, few.high, few.pictures) == (1, 1, 3)
    assert few.low == pytest.approx(0.4385, abs=1e-4)  # Wilson: n / (n + z^2)
    many = intervals.share(np.array([True] * 67 + [False] * 33))
    assert many.text() == "67.0% (57.3% to 75.4%)"


def test_area_is_right_and_covered_by_its_interval() -> None:
    rng = np.random.default_rng(0)
    truth, covered = 0.7602, 0  # of two normal distributions, one standard deviation apart
    for _ in range(200):
        familiar, other = rng.normal(1, 1, 60), rng.normal(0, 1, 150)
        found = intervals.area(familiar.astype(np.float32), other.astype(np.float32))
        covered += found.low <= truth <= found.high
    assert 180 <= covered <= 199
    assert intervals.area(np.array([2, 3], np.float32), np.array([1], np.float32)).value == 1


def test_mean_over_classes_weighs_classes_alike() -> None:
    right = np.array([True] * 90 + [False] * 10)
    labels = np.array([0] * 90 + [3] * 10)
    found = intervals.mean_over_classes(right, labels)
    assert found.value == 0.5
    assert found.low == found.high == 0.5  # no class is uncertain
