"""Logits to probabilities that are right as often as they say."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, minimize
from scipy.special import softmax

# What is tried; a network that has learnt little could end anywhere.
TEMPERATURES = (0.05, 20.0)
EXPONENTS = (0.5, 3.0)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """How far the logits of a picture's classes lie below its greatest, and what that is worth.

    A network that was taught by smoothed labels is too sure where it hesitates, and not sure
    enough where it does not: no temperature alone makes up for both.

    Attributes:
        temperature: the gaps are divided by it (Guo et al., 2017).
        exponent: they are raised to it first; above 1, small gaps say less and large ones more.
    """

    temperature: float
    exponent: float

    @classmethod
    def of_card(cls, card: dict[str, Any]) -> Self:
        """That of an artifact."""
        return cls(card["temperature"], card["exponent"])

    def apply(self, scores: Floats) -> Floats:
        """Probabilities (N, classes) of logits (N, classes)."""
        gaps = scores.max(axis=1, keepdims=True) - scores
        return np.asarray(softmax(-(gaps**self.exponent) / self.temperature, axis=1))

    def undo(self, probabilities: Floats) -> Floats:
        """What calibrated probabilities (N, classes) would be without calibration."""
        logs = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        gaps = (logs.max(axis=1, keepdims=True) - logs) * self.temperature
        return np.asarray(softmax(-(gaps ** (1 / self.exponent)), axis=1))


def fit(scores: Floats, labels: npt.NDArray[np.int64]) -> Calibration:
    """The calibration with the least log-loss.

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
