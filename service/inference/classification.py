"""The answer for one picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.inference.decoding import ImageFacts
from service.inference.second_view import SecondView


class Prediction(NamedTuple):
    """A class and its probability in 0..1."""

    label: str
    class_id: int
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """The answer for one picture.

    Attributes:
        labels: names of the classes.
        probabilities: float32 (classes,), calibrated; the sum is 1.
        ranking: class ids, the most probable first.
        energy: logsumexp of the logits; higher is more familiar.
        unfamiliar: whether the energy is below the model's threshold.
        image: facts of the upload.
        pixels: uint8 (height, width, 3), the input of the model.
        second_view: whether the picture has further views than the first.
    """

    labels: Sequence[str]
    probabilities: NDArray[np.float32]
    ranking: Sequence[int]
    energy: float
    unfamiliar: bool
    image: ImageFacts
    pixels: NDArray[np.uint8]
    second_view: SecondView = "none"

    def top(self, k: int) -> list[Prediction]:
        """The k most probable classes, best first."""
        labels, probabilities = self.labels, self.probabilities.tolist()
        return [Prediction(labels[i], i, probabilities[i]) for i in self.ranking[:k]]

    def label_set(self, thresholds: Sequence[float]) -> list[str]:
        """The classes whose probability reaches their threshold, best first; there may be none."""
        return [self.labels[i] for i in self.ranking if self.probabilities[i] >= thresholds[i]]

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.labels[self.ranking[0]]
