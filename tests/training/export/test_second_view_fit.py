import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax

from training.export import second_view_fit

Floats = npt.NDArray[np.float32]


def views(
    count: int, *, same: float = 0.0, seed: int = 0
) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Probabilities of two views with errors of their own, and the right classes.

    `same` is the share of the errors that both views have.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, count)
    scores = np.zeros((count, 5))
    scores[np.arange(count), labels] = rng.uniform(0, 8, count)
    common = rng.normal(0, 1.5, scores.shape)
    first, second = (
        softmax(scores + same * common + (1 - same) * rng.normal(0, 1.5, scores.shape), axis=1)
        for _ in range(2)
    )
    return np.asarray(first, np.float32), np.asarray(second, np.float32), labels


def test_rule_gains_and_asks_for_a_sixth_at_most() -> None:
    first, second, labels = views(20_000)
    rule = second_view_fit.fit(first, second, labels)
    assert rule is not None
    assert rule.kind == "mirror"
    unsure = rule.asks(first)
    assert 0.1 < unsure.mean() <= 1 / 6
    next_ = rule.model_copy(update={"below": rule.below + 0.05})
    assert next_.asks(first).mean() > 1 / 6
    served = first.copy()
    served[unsure] = rule.combine(first[unsure], second[unsure])
    right = np.arange(len(labels)), labels
    assert np.log(served[right]).mean() > np.log(first[right]).mean() + 0.005
    assert (served.argmax(axis=1) == labels).mean() > (first.argmax(axis=1) == labels).mean()


def test_mean_of_independent_views_is_sharpened() -> None:
    rule = second_view_fit.fit(*views(20_000))
    assert rule is not None
    assert rule.temperature < 0.95


def test_known_temperature_is_found() -> None:
    rng = np.random.default_rng(0)
    first = np.asarray(softmax(rng.normal(0, 1, (50_000, 4)), axis=1), np.float32)
    true = second_view_fit._rule(1.0, first, first, np.zeros(50_000, np.int64)).model_copy(
        update={"temperature": 0.7}
    )
    sums = true.combine(first, first).cumsum(axis=1)
    labels = np.asarray((rng.random((50_000, 1)) > sums[:, :-1]).sum(axis=1), np.int64)
    found = second_view_fit._rule(1.0, first, first, labels)
    assert found.temperature == pytest.approx(0.7, rel=0.05)


def test_equal_views_have_no_rule() -> None:
    first, _, _ = views(5_000)
    sums = first.cumsum(axis=1)
    chance = np.random.default_rng(1).random((len(first), 1))
    labels = np.asarray((chance > sums[:, :-1]).sum(axis=1), np.int64)  # calibrated
    assert second_view_fit.fit(first, first, labels) is None


def test_network_that_is_mostly_unsure_has_no_rule() -> None:
    first, second, labels = views(20_000)
    unsure = np.argsort(first.max(axis=1))[:2_000]
    chosen = np.resize(unsure[first[unsure].max(axis=1) < 0.3], 2_000)
    assert second_view_fit.fit(first[chosen], second[chosen], labels[chosen]) is None


def test_few_pictures_have_no_rule() -> None:
    first, _, labels = views(500)
    perfect = np.full_like(first, 0.01)
    perfect[np.arange(500), labels] = 0.96
    assert second_view_fit.fit(first, perfect, labels) is not None
    assert second_view_fit.fit(first[1:], perfect[1:], labels[1:]) is None
