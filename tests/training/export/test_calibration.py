import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax

from training.export import calibration
from training.export.calibration import Calibration

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (20_000, 5)).astype(np.float32)


def drawn(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """A class for each row, as often as its probabilities say."""
    below = RNG.random((len(probabilities), 1)) > probabilities.cumsum(axis=1)
    return np.asarray(below[:, :-1].sum(axis=1), np.int64)


def test_known_overconfidence_is_corrected() -> None:
    labels = drawn(softmax(LOGITS, axis=1))
    found = calibration.fit(LOGITS * 3, labels)
    assert found.exponent == pytest.approx(1, rel=0.05)
    assert found.temperature == pytest.approx(3, rel=0.15)


def test_known_exponent_is_found() -> None:
    known = Calibration(temperature=2.0, exponent=1.5)
    labels = drawn(known.apply(LOGITS))
    found = calibration.fit(LOGITS, labels)
    assert found.temperature == pytest.approx(2.0, rel=0.1)
    assert found.exponent == pytest.approx(1.5, rel=0.1)


@pytest.mark.parametrize("exponent", [1.0, 1.6])
def test_calibration_can_be_taken_back(exponent: float) -> None:
    logits = np.array([[4.0, 1.0, -2.0], [0.0, 0.5, 0.25]], np.float32)
    known = Calibration(1.7, exponent)
    np.testing.assert_allclose(known.undo(known.apply(logits)), softmax(logits, axis=1), rtol=1e-4)
    certain = known.undo(np.array([[1.0, 0.0]], np.float32))
    np.testing.assert_allclose(certain, [[1, 0]], atol=1e-6)


def test_order_of_the_classes_stays() -> None:
    some = LOGITS[:100]
    calibrated = Calibration(0.9, 1.6).apply(some)
    np.testing.assert_array_equal(calibrated.argsort(axis=1), some.argsort(axis=1))
    np.testing.assert_allclose(calibrated.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("gap", [0.1, 1.0, 30.0])
def test_few_pictures_claim_no_more_than_they_can_show(gap: float) -> None:
    labels = np.zeros(12, np.int64)
    scores = np.zeros((12, 3), np.float32)
    scores[:, 0] = gap
    found = calibration.fit(scores, labels)
    certain = found.apply(np.array([[100.0, 0, 0]], np.float32)).max()
    assert certain == pytest.approx(13 / 14)  # Laplace's rule of succession
    assert found.apply(np.array([[0.1, 0, 0]], np.float32)).max() < 0.65


@pytest.mark.parametrize("pictures", [12, 30, 100])
def test_gap_that_no_picture_had_is_not_sure(pictures: int) -> None:
    scores = np.zeros((pictures, 3), np.float32)
    scores[:, 0] = 0.1
    found = calibration.fit(scores, np.zeros(pictures, np.int64))
    assert found.exponent >= 0.75
    seen, unseen = found.apply(np.array([[0.1, 0, 0], [0.01, 0, 0]], np.float32)).max(axis=1)
    assert seen < found.certainty == (pictures + 1) / (pictures + 2)
    assert unseen < 0.5


def test_few_pictures_move_a_calibration_less_than_many() -> None:
    scores = LOGITS * 3
    labels = drawn(softmax(LOGITS, axis=1))
    few, many = (calibration.fit(scores[:n], labels[:n]) for n in (40, 5_000))
    assert 1 < few.temperature < many.temperature
    assert many.certainty == pytest.approx(1, abs=1e-3)


def test_calibration_that_does_not_help_unseen_pictures_is_left_out() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(0, 1, (30, 5)).astype(np.float32)
    below = rng.random((30, 1)) > softmax(scores, axis=1).cumsum(axis=1)
    found = calibration.fit(scores, below[:, :-1].sum(axis=1))
    assert (found.temperature, found.exponent) == (1, 1)
