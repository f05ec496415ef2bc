"""The second view: a picture of which a file is unsure is computed once more, mirrored.

The energy, and so whether a picture is unfamiliar, stays that of the first view.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from training.figures import Figures
from training.measure import metrics
from training.measure.metrics import Metrics
from training.measure.predict import Predictions, predict

Floats = npt.NDArray[np.float32]


class SecondView(Figures):
    """Which pictures have a second view, and what becomes of both; in the metadata of the file.

    Attributes:
        kind: how the second view differs from the first.
        below: a picture has one if its highest probability is under this.
        temperature: divisor of the logarithms of the mean of both views' probabilities.
    """

    kind: Literal["mirror"] = "mirror"
    below: float
    temperature: float

    def asks(self, probabilities: Floats) -> npt.NDArray[np.bool_]:
        """Which pictures have a second view (N,), by the first's probabilities (N, classes)."""
        return np.asarray(probabilities.max(axis=1) < self.below)

    def combine(self, first: Floats, second: Floats) -> Floats:
        """The probabilities (N, classes) of pictures with two views, by those of each view."""
        both = ((first + second) / 2) ** (1 / self.temperature)
        combined: Floats = both / both.sum(axis=1, keepdims=True)
        return combined


class ServedMetrics(Metrics):
    """Figures of one file on one split, with second views.

    Attributes:
        second_views: share of the pictures that are computed twice.
    """

    second_views: float


def mirrored(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The mirror images of pictures (N, height, width, 3)."""
    return np.ascontiguousarray(images[:, :, ::-1])


def as_served(
    rule: SecondView | None, model: Path, images: npt.NDArray[np.uint8], first: Predictions
) -> Predictions:
    """The answers of a file with second views.

    Args:
        rule: of the file; None where it has none.
        model: the ONNX file.
        images: uint8 (N, size, size, 3).
        first: the answers of the file for these pictures.
    """
    if rule is None or not (unsure := rule.asks(first.probabilities)).any():
        return first
    second = predict(model, mirrored(images[unsure])).probabilities
    probabilities = first.probabilities.copy()
    probabilities[unsure] = rule.combine(probabilities[unsure], second)
    return Predictions(probabilities, first.energy)


def served_metrics(
    rule: SecondView,
    first: Predictions,
    served: Predictions,
    labels: npt.NDArray[np.int64],
    energy_threshold: float,
) -> ServedMetrics:
    """The figures of answers with second views, `served`, for pictures with labels (N,)."""
    return ServedMetrics(
        **dict(metrics.metrics(served, labels, energy_threshold)),
        second_views=float(rule.asks(first.probabilities).mean()),
    )
