"""The rule of second views: chosen on validation pictures."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from training.export.calibration import FEW_PICTURES, Floats, Labels
from training.measure.second_view import SecondView

THRESHOLDS = tuple(round(0.3 + 0.05 * step, 2) for step in range(14))  # 0.3 to 0.95
MOST = 1 / 6  # of the pictures are computed twice
TEMPERATURES = (0.25, 4.0)
SIGNIFICANT = 1.96  # standard errors


def fit(first: Floats, second: Floats, labels: Labels) -> SecondView | None:
    """The rule with the highest threshold by which at most a sixth of the pictures have two views.

    Its temperature is that with the smallest log-loss.

    Args:
        first: calibrated probabilities (N, classes) of pictures.
        second: those of the mirrored pictures.
        labels: the classes of the pictures (N,).

    Returns:
        The rule; None where there are fewer than 500 pictures, every threshold asks for more second
        views, or what is gained in log-loss may be chance.
    """
    surest = first.max(axis=1)
    allowed = [below for below in THRESHOLDS if np.mean(surest < below) <= MOST]
    if len(labels) < FEW_PICTURES or not allowed:
        return None
    rule = _rule(allowed[-1], first, second, labels)
    gains = _gains(rule, first, second, labels)
    error = gains.std() / len(gains) ** 0.5
    return rule if gains.mean() > SIGNIFICANT * error else None


def _rule(below: float, first: Floats, second: Floats, labels: Labels) -> SecondView:
    """The rule of a threshold, with the temperature that has the smallest log-loss."""

    def loss(log: float) -> float:
        rule = SecondView(below=below, temperature=float(np.exp(log)))
        return -float(_gains(rule, first, second, labels).sum())

    low, high = np.log(TEMPERATURES).tolist()
    best = minimize_scalar(loss, bounds=(low, high), method="bounded").x
    return SecondView(below=below, temperature=round(float(np.exp(best)), 4))


def _gains(
    rule: SecondView, first: Floats, second: Floats, labels: Labels
) -> npt.NDArray[np.float64]:
    """The logarithm of how much more probable the rule makes each right class (N,), in nats."""
    unsure = rule.asks(first)
    chosen = np.arange(int(unsure.sum())), labels[unsure]
    tiny = np.finfo(np.float32).tiny
    before = np.log(np.maximum(first[unsure][chosen], tiny))
    after = np.log(np.maximum(rule.combine(first[unsure], second[unsure])[chosen], tiny))
    gains = np.zeros(len(labels))
    gains[unsure] = after - before
    return gains
