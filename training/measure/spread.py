"""How far figures of several seeds of the same preset lie apart."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from training.figures import Figures


class Spread(Figures):
    """One figure over several seeds.

    Attributes:
        values: of each seed.
        mean: over the seeds.
        standard_deviation: of the sample.
        interval: of the mean over further seeds, with a confidence of 95 % (Student's t).
    """

    values: tuple[float, ...]
    mean: float
    standard_deviation: float
    interval: tuple[float, float]

    def text(self) -> str:
        """The spread of a share in words."""
        mean, deviation, low, high = (
            f"{value:.2%}" for value in (self.mean, self.standard_deviation, *self.interval)
        )
        return (
            f"{mean}, standard deviation {deviation}, 95 % interval of the mean {low} to {high} "
            f"({len(self.values)} seeds)"
        )


class SeedSpread(Figures):
    """The spread of one file on one split.

    Attributes:
        seeds: the seeds, in the order of the values.
        accuracy: of the first class.
        log_loss: of the probabilities.
        expected_calibration_error: of the probabilities.
    """

    seeds: tuple[int, ...]
    accuracy: Spread
    log_loss: Spread
    expected_calibration_error: Spread


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least two values."""
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * deviation / len(values) ** 0.5
    return Spread(
        values=tuple(values),
        mean=mean,
        standard_deviation=deviation,
        interval=(mean - half, mean + half),
    )
