"""What is fitted on the validation split: calibration and energy threshold."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, minimize
from scipy.special import softmax

# Bounds of the fit, which has no clear optimum for a network that has learnt little, or for few
# pictures that are all right. Under 1 an exponent makes gaps large that no picture had.
TEMPERATURES = (0.05, 20.0)
EXPONENTS = (0.75, 3.0)
UNFAMILIAR_PERCENTILE = 5
# With fewer validation pictures than this the fit is cross-fitted and has a prior.
FEW_PICTURES = 500
FOLDS = 5
FOLD_SEED = 0
PRIOR_DEVIATION = np.log(2)  # of the logarithms of temperature and exponent, around 0

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Calibration:
    """Softmax over the gaps between each logit and the largest one, after a power and a scale.

    A network trained on smoothed labels is overconfident where its gaps are small and
    underconfident where they are large; a temperature alone cannot correct both.

    Attributes:
        temperature: divisor of the gaps (Guo et al., 2017).
        exponent: power of the gaps, applied before; above 1 it makes small gaps smaller.
        certainty: the highest probability that any answer has. The softmax is mixed with equal
            probabilities of all classes.
    """

    temperature: float = 1.0
    exponent: float = 1.0
    certainty: float = 1.0

    def share(self, classes: int) -> float:
        """The share of the softmax in the mixture, for a number of classes."""
        return (self.certainty * classes - 1) / (classes - 1)

    def apply(self, scores: Floats) -> Floats:
        """Probabilities (N, classes) of logits (N, classes)."""
        classes = scores.shape[1]
        gaps = scores.max(axis=1, keepdims=True) - scores
        probabilities = softmax(-(gaps**self.exponent) / self.temperature, axis=1)
        share = self.share(classes)
        return np.asarray(share * probabilities + (1 - share) / classes, scores.dtype)

    def undo(self, probabilities: Floats) -> Floats:
        """The softmax of the logits that calibrated probabilities (N, classes) came from."""
        classes = probabilities.shape[1]
        share = self.share(classes)
        pure = (probabilities.astype(np.float64) - (1 - share) / classes) / share
        logs = np.log(np.maximum(pure, np.finfo(np.float32).tiny))
        gaps = (logs.max(axis=1, keepdims=True) - logs) * self.temperature
        return np.asarray(softmax(-(gaps ** (1 / self.exponent)), axis=1), np.float32)


def fit(scores: Floats, labels: Labels) -> Calibration:
    """The calibration with the smallest log-loss.

    N pictures that are all classified correctly show an accuracy of no more than (N + 1) / (N + 2)
    (Laplace's rule), so no answer claims more than that. With fewer than 500 pictures temperature
    and exponent have a prior around 1, are the geometric means of the fits to four fifths of the
    pictures each, and stay 1 where these fits do not help the fifth that they have not seen.

    Args:
        scores: logits (N, classes) of pictures that the network was not trained on.
        labels: their classes (N,).
    """
    exact = scores.astype(np.float64)
    certainty = (len(labels) + 1) / (len(labels) + 2)
    if len(labels) >= FEW_PICTURES:
        return _fit(exact, labels, certainty, prior=0.0)
    order = np.random.default_rng(FOLD_SEED).permutation(len(labels))
    fits, held_out = [], 0.0
    for fold in np.array_split(order, min(FOLDS, len(labels))):
        rest = np.setdiff1d(order, fold)
        fits.append(_fit(exact[rest], labels[rest], certainty, prior=1.0))
        held_out += log_loss(fits[-1], exact[fold], labels[fold]) * len(fold)
    uncalibrated = Calibration(certainty=certainty)
    if held_out >= log_loss(uncalibrated, exact, labels) * len(labels):
        return uncalibrated
    logs = np.log([(one.temperature, one.exponent) for one in fits])
    temperature, exponent = np.exp(logs.mean(axis=0)).tolist()
    return Calibration(temperature, exponent, certainty)


def _fit(scores: Doubles, labels: Labels, certainty: float, prior: float) -> Calibration:
    """The fit to all pictures, with a weight of the prior."""

    def calibration(logs: Doubles) -> Calibration:
        temperature, exponent = np.exp(logs).tolist()
        return Calibration(temperature, exponent, certainty)

    def loss(logs: Doubles) -> float:
        penalty = prior * float(np.sum((logs / PRIOR_DEVIATION) ** 2)) / 2
        return log_loss(calibration(logs), scores, labels) + penalty / len(labels)

    bounds = Bounds(*np.log([TEMPERATURES, EXPONENTS]).T)
    # A simplex (Nelder and Mead) would collapse where it meets a bound.
    return calibration(minimize(loss, (0.0, 0.0), method="L-BFGS-B", bounds=bounds).x)


def log_loss(calibration: Calibration, scores: Floats | Doubles, labels: Labels) -> float:
    """Mean cross-entropy in nats of calibrated logits (N, classes) for labels (N,)."""
    chosen = calibration.apply(scores)[np.arange(len(labels)), labels]  # type: ignore[arg-type]
    return -float(np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())


def energy_threshold(energies: Floats) -> float:
    """The 5th percentile of validation energies (N,); pictures under it count as unfamiliar."""
    return float(np.percentile(energies, UNFAMILIAR_PERCENTILE))
