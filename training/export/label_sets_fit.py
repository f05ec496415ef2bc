"""Thresholds of label sets: split conformal prediction, for each class by itself.

See Vovk (2012), "Conditional validity of inductive conformal predictors".
"""

import math

import numpy as np
import numpy.typing as npt

from training.export.calibration import FEW_PICTURES, Floats, Labels
from training.measure.label_sets import Thresholds

COVERAGES = (0.9, 0.95, 0.99)
SPLIT_SEED = 0
_ROUNDING = 1e-9

Indices = npt.NDArray[np.int64]


def halves(labels: Labels) -> tuple[Indices, Indices]:
    """Divide validation pictures: for the calibration, and for the thresholds of label sets.

    The thresholds hold for pictures that the calibration has not seen. Where a half would have
    fewer than 500 pictures, the calibration gets all of them and the thresholds none.

    Args:
        labels: of the pictures (N,).

    Returns:
        The numbers of the pictures in each part; of each class both have the same share.
    """
    if len(labels) < 2 * FEW_PICTURES:
        return np.arange(len(labels)), np.arange(0)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    of_class = order[np.argsort(labels[order], kind="stable")]
    return of_class[::2], of_class[1::2]


def fit(probabilities: Floats, labels: Labels) -> Thresholds | None:
    """The thresholds for each coverage that the pictures are enough for; None for none.

    The right class of a further picture like these reaches its threshold with a probability of at
    least the coverage, whatever its class is.

    Args:
        probabilities: as served (N, classes), of pictures that nothing was fitted to.
        labels: their classes (N,).
    """
    found: dict[float, tuple[float, ...]] = {}
    right = probabilities[np.arange(len(labels)), labels]
    of_class = [np.sort(right[labels == number]) for number in range(probabilities.shape[1])]
    for coverage in COVERAGES:
        # Of n pictures and a further one, each is the k-th least probable equally often.
        ranks = [math.floor((len(own) + 1) * (1 - coverage) + _ROUNDING) for own in of_class]
        if min(ranks) >= 1:
            found[coverage] = tuple(
                float(own[rank - 1]) for own, rank in zip(of_class, ranks, strict=True)
            )
    return found or None
