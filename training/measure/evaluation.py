"""All figures of one split, as a run's `evaluation.json` and its report have them."""

from pathlib import Path

import numpy as np
from sklearn.metrics import confusion_matrix

from training.data.dataset import Split
from training.measure import metrics, robustness
from training.measure.metrics import Bin, ClassMetrics, Metrics
from training.measure.predict import Predictions
from training.measure.robustness import StrengthAccuracy
from training.measure.second_view import ServedMetrics


class Evaluation(Metrics):
    """Figures of `model.onnx` on one split.

    Attributes:
        per_class: by class name.
        confusion_matrix: pictures by true class (rows) and answer (columns).
        reliability: confidence against accuracy.
        reliability_before: the same without calibration.
        robustness: accuracy on changed copies.
        as_served: with second views; None where the file has none.
    """

    per_class: dict[str, ClassMetrics]
    confusion_matrix: list[list[int]]
    reliability: list[Bin]
    reliability_before: list[Bin]
    robustness: list[StrengthAccuracy]
    as_served: ServedMetrics | None = None


def evaluate(
    model: Path,
    split: Split,
    classes: tuple[str, ...],
    energy_threshold: float,
    *,
    predictions: Predictions,
    uncalibrated: np.ndarray,
) -> Evaluation:
    """Measure a file on a split.

    Args:
        model: the ONNX file.
        split: N labelled pictures.
        classes: the class names.
        energy_threshold: pictures under it count as unfamiliar.
        predictions: of the file on the split.
        uncalibrated: the probabilities (N, classes) without calibration.
    """
    probabilities, labels = predictions.probabilities, split.labels
    return Evaluation(
        **dict(metrics.metrics(predictions, labels, energy_threshold)),
        per_class=metrics.per_class(probabilities, labels, classes),
        confusion_matrix=confusion_matrix(
            labels, probabilities.argmax(axis=1), labels=np.arange(len(classes))
        ).tolist(),
        reliability=metrics.reliability(probabilities, labels),
        reliability_before=metrics.reliability(uncalibrated, labels),
        robustness=robustness.measure(model, split),
    )
