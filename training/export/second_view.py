"""The rule of second views: chosen on validation pictures."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from training.export.calibration import FEW_PICTURES, Floats, Labels
from training.measure.second_view import SecondView

THRESHOLDS = tuple(round(0.4 + 0.05 * step, 2) for step in range(12))  # 0.4 to 0.95
EVERY_PICTURE = 1.0
TEMPERATURES = (0.25, 4.0)
KEPT = 0.9  # of what a second view of every picture gains
SIGNIFICANT = 1.96  # standard errors


def fit(first: Floats, second: Floats, labels: Labels) -> SecondView | None:
    """The rule with the fewest second views that keeps nine tenths of what they can gain.

    The gain is that of the log-loss, with the temperature that suits each threshold best.

    Args:
        first: calibrated probabilities (N, classes) of pictures.
        second: those of the mirrored pictures.
        labels: the classes of the pictures (N,).

    Returns:
        The rule; None where there are fewer than 500 pictures, or the gain may be chance.
    """
    if len(labels) < FEW_PICTURES:
        return None
    rules = [_rule(below, first, second, labels) for below in (*THRESHOLDS, EVERY_PICTURE)]
    gains = [_gains(rule, first, second, labels) for rule in rules]
    most = gains[-1].sum()
    for rule, gain in zip(rules, gains, strict=True):
        if gain.sum() >= KEPT * most:
            error = gain.std() * len(gain) ** 0.5
            return rule if gain.sum() > SIGNIFICANT * error else None
    return None


def _rule(below: float, first: Floats, second: Floats, labels: Labels) -> SecondView:
    """The rule of a threshold, with the temperature that has the smallest log-loss."""

    def loss(log: float) -> float:
        rule = SecondView(below=below, temperature=float(np.exp(log)))
        return -float(_gains(rule, first, second, labels).sum())

    best = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x
    return SecondView(below=below, temperature=round(float(np.exp(best)), 4))


def _gains(
    rule: SecondView, first: Floats, second: Floats, labels: Labels
) -> npt.NDArray[np.float64]:
    """How much more probable the right class of each picture is with the rule, in nats (N,)."""
    unsure = rule.asks(first)
    chosen = np.arange(int(unsure.sum())), labels[unsure]
    tiny = np.finfo(np.float32).tiny
    before = np.log(np.maximum(first[unsure][chosen], tiny))
    after = np.log(np.maximum(rule.combine(first[unsure], second[unsure])[chosen], tiny))
    gains = np.zeros(len(labels))
    gains[unsure] = after - before
    return gains
