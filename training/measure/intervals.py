"""Figures of few pictures, with their 95 % confidence intervals."""

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from training.figures import Figures

CONFIDENCE = 0.95
RESAMPLES = 2_000
SEED = 0


class Estimate(Figures):
    """A figure in 0..1.

    Attributes:
        value: the figure.
        low: lower end of its 95 % confidence interval.
        high: upper end.
        pictures: that it rests on.
    """

    value: float
    low: float
    high: float
    pictures: int

    def text(self, form: str = ".1%") -> str:
        """The figure and its interval, in a format of numbers."""
        return f"{self.value:{form}} ({self.low:{form}} to {self.high:{form}})"


def share(hits: npt.NDArray[np.bool_]) -> Estimate:
    """The share of pictures that are hits (N,), with Wilson's interval."""
    low, high = wilson(float(hits.mean()), len(hits))
    return Estimate(value=float(hits.mean()), low=low, high=high, pictures=len(hits))


def wilson(value: float, pictures: int) -> tuple[float, float]:
    """Wilson's interval of a share that was seen in a number of independent pictures."""
    test = binomtest(round(value * pictures), pictures)
    interval = test.proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def hanley(auroc: float, pictures: int, others: int) -> tuple[float, float]:
    """The interval of an AUROC between two numbers of pictures (Hanley and McNeil, 1982)."""
    first, second = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = (
        auroc * (1 - auroc)
        + (pictures - 1) * (first - auroc**2)
        + (others - 1) * (second - auroc**2)
    ) / (pictures * others)
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * max(0.0, variance) ** 0.5
    return max(0.0, auroc - half), min(1.0, auroc + half)


def area(familiar: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> Estimate:
    """The AUROC: how probably a familiar picture has the higher value, for values (N,) and (M,)."""
    known = np.repeat([1, 0], [len(familiar), len(other)])
    value = float(roc_auc_score(known, np.concatenate([familiar, other])))
    low, high = hanley(value, len(familiar), len(other))
    return Estimate(value=value, low=low, high=high, pictures=len(known))


def mean_over_classes(right: npt.NDArray[np.bool_], labels: npt.NDArray[np.int64]) -> Estimate:
    """The mean of the accuracies of the classes that occur, with a bootstrap interval.

    Args:
        right: which pictures are classified correctly, shape (N,).
        labels: their classes (N,).
    """

    def mean(chosen: npt.NDArray[np.int64]) -> float:
        counts = np.bincount(labels[chosen])
        hits = np.bincount(labels[chosen], weights=right[chosen], minlength=len(counts))
        return float((hits[counts > 0] / counts[counts > 0]).mean())

    rng = np.random.default_rng(SEED)
    every = np.arange(len(labels))
    means = [mean(rng.choice(every, len(every))) for _ in range(RESAMPLES)]
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(means, [tail, 100 - tail]).tolist()
    return Estimate(value=mean(every), low=low, high=high, pictures=len(labels))
