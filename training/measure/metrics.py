"""Accuracy and calibration of predictions on labelled pictures."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import log_loss, precision_recall_fscore_support, top_k_accuracy_score

from training.figures import Figures
from training.measure.predict import Predictions

CALIBRATION_BINS = 15
TOP_K = (2, 3, 5)


class Metrics(Figures):
    """Figures of one file on one split; shares are in 0..1.

    Attributes:
        pictures: number of pictures.
        accuracy: share whose most probable class is the right one.
        top_2_accuracy: share whose right class is among the two most probable ones; None where
            there are no more classes than that. The same for 3 and 5.
        log_loss: mean cross-entropy in nats.
        expected_calibration_error: of the most probable class, in `CALIBRATION_BINS` bins.
        unfamiliar_share: share with an energy under the threshold.
    """

    pictures: int
    accuracy: float
    top_2_accuracy: float | None = None
    top_3_accuracy: float | None = None
    top_5_accuracy: float | None = None
    log_loss: float
    expected_calibration_error: float
    unfamiliar_share: float

    def top_k(self) -> dict[int, float]:
        """The accuracies of more than one answer that were measured, by number of answers."""
        every = {2: self.top_2_accuracy, 3: self.top_3_accuracy, 5: self.top_5_accuracy}
        return {k: accuracy for k, accuracy in every.items() if accuracy is not None}


class Bin(Figures):
    """Predictions of similar confidence.

    Attributes:
        bin: its number among `CALIBRATION_BINS` bins of equal width, from 0.
        confidence: mean probability of the most probable class.
        accuracy: share whose most probable class is the right one.
        pictures: number of pictures, at least 1.
    """

    bin: int
    confidence: float
    accuracy: float
    pictures: int


class ClassMetrics(Figures):
    """Figures of one class; `pictures` is the number of pictures that belong to it."""

    precision: float
    recall: float
    f1: float
    pictures: int


def metrics(
    predictions: Predictions, labels: npt.NDArray[np.int64], energy_threshold: float
) -> Metrics:
    """The figures of predictions for pictures with labels (N,)."""
    probabilities = predictions.probabilities
    classes = probabilities.shape[1]
    every = np.arange(classes)
    # In float32 the rows sum to 1 up to rounding, and scikit-learn warns of the difference.
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    return Metrics(
        pictures=len(labels),
        accuracy=float(np.mean(probabilities.argmax(axis=1) == labels)),
        log_loss=float(log_loss(labels, exact, labels=every)),
        expected_calibration_error=expected_calibration_error(reliability(probabilities, labels)),
        unfamiliar_share=float(np.mean(predictions.energy < energy_threshold)),
        **{
            f"top_{k}_accuracy": float(
                top_k_accuracy_score(labels, probabilities, k=k, labels=every)
            )
            for k in TOP_K
            if classes > 2 and k < classes
        },
    )


def reliability(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> list[Bin]:
    """Confidence against accuracy, in the bins of the highest probability that are not empty."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    table = pd.DataFrame({"bin": bins, "confidence": confidence, "accuracy": correct})
    grouped = table.groupby("bin")
    rows = grouped.mean().assign(pictures=grouped.size()).reset_index().to_dict("records")
    return [Bin.model_validate(row) for row in rows]


def expected_calibration_error(bins: list[Bin]) -> float:
    """Mean gap between confidence and accuracy, weighted by pictures (Guo et al., 2017)."""
    table = pd.DataFrame([dict(one) for one in bins])
    gap = (table["confidence"] - table["accuracy"]).abs()
    return float((gap * table["pictures"]).sum() / table["pictures"].sum())


def per_class(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
) -> dict[str, ClassMetrics]:
    """The figures of each class, in the order of the classes."""
    columns = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=np.arange(len(classes)), zero_division=0.0
    )
    return {
        name: ClassMetrics(precision=precision, recall=recall, f1=f1, pictures=int(pictures))
        for name, precision, recall, f1, pictures in zip(classes, *columns, strict=True)
    }


def mcnemar(right: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    """The p-value of McNemar's exact test: whether two files are equally often right.

    Args:
        right: which pictures one file gets right, shape (N,).
        other: which pictures the other file gets right, shape (N,).
    """
    won, lost = int((other & ~right).sum()), int((right & ~other).sum())
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
