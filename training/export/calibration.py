"""What is fitted on the validation split: calibration and energy threshold."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, minimize
from scipy.special import softmax

# Bounds of the fit, which has no clear optimum for a network that has learnt little.
TEMPERATURES = (0.05, 20.0)
EXPONENTS = (0.5, 3.0)
UNFAMILIAR_PERCENTILE = 5

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """Softmax over the gaps between each logit and the largest one, after a power and a scale.

    A network trained on smoothed labels is overconfident where its gaps are small and
    underconfident where they are large; a temperature alone cannot correct both.

    Attributes:
        temperature: divisor of the gaps (Guo et al., 2017).
        exponent: power of the gaps, applied before; above 1 it makes small gaps smaller.
    """

    temperature: float
    exponent: float

    def apply(self, scores: Floats) -> Floats:
        """Probabilities (N, classes) of logits (N, classes)."""
        gaps = scores.max(axis=1, keepdims=True) - scores
        return np.asarray(softmax(-(gaps**self.exponent) / self.temperature, axis=1))

    def undo(self, probabilities: Floats) -> Floats:
        """The softmax of the logits that calibrated probabilities (N, classes) came from."""
        logs = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        gaps = (logs.max(axis=1, keepdims=True) - logs) * self.temperature
        return np.asarray(softmax(-(gaps ** (1 / self.exponent)), axis=1))


def fit(scores: Floats, labels: npt.NDArray[np.int64]) -> Calibration:
    """The calibration with the smallest log-loss.

    Args:
        scores: logits (N, classes) of pictures that the network was not trained on.
        labels: their classes (N,).
    """
    exact = scores.astype(np.float64)

    def calibration(logs: npt.NDArray[np.float64]) -> Calibration:
        temperature, exponent = np.exp(logs).tolist()
        return Calibration(temperature, exponent)

    def log_loss(logs: npt.NDArray[np.float64]) -> float:
        chosen = calibration(logs).apply(exact)[np.arange(len(labels)), labels]  # type: ignore[arg-type]
        return -float(np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())

    bounds = Bounds(*np.log([TEMPERATURES, EXPONENTS]).T)
    return calibration(minimize(log_loss, (0.0, 0.0), method="Nelder-Mead", bounds=bounds).x)


def energy_threshold(energies: Floats) -> float:
    """The 5th percentile of validation energies (N,); pictures under it count as unfamiliar."""
    return float(np.percentile(energies, UNFAMILIAR_PERCENTILE))
