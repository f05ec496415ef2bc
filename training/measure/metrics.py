"""Figures of an exported ONNX file on labelled pictures, through ONNX Runtime."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import (
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from training.data.dataset import Split

# ONNX Runtime sends usage events unless this is set before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

CALIBRATION_BINS = 15
TOP_K = (2, 3, 5)
BATCH = 250


@dataclass(frozen=True)
class Predictions:
    """What a model says of N pictures.

    Attributes:
        probabilities: float32 (N, classes); rows sum to 1.
        energy: float32 (N,); higher is more familiar.
    """

    probabilities: npt.NDArray[np.float32]
    energy: npt.NDArray[np.float32]


def predict(model: Path, images: npt.NDArray[np.uint8], *, batch: int = BATCH) -> Predictions:
    """Run an exported file on the CPU over uint8 pictures (N, size, size, 3)."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs = [
        session.run(["probabilities", "energy"], {"image": images[start : start + batch]})
        for start in range(0, len(images), batch)
    ]
    return Predictions(*(np.concatenate(parts) for parts in zip(*outputs, strict=True)))


def metrics(
    predictions: Predictions, labels: npt.NDArray[np.int64], energy_threshold: float
) -> dict[str, Any]:
    """The figures that a card holds for one split; all in 0..1 but the log-loss, in nats."""
    probabilities = predictions.probabilities
    classes = probabilities.shape[1]
    every = np.arange(classes)
    # In float32 the rows sum to 1 but for rounding, of which scikit-learn warns.
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    return {
        "pictures": len(labels),
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == labels)),
        **{
            f"top_{k}_accuracy": float(
                top_k_accuracy_score(labels, probabilities, k=k, labels=every)
            )
            for k in TOP_K
            if classes > 2 and k < classes
        },
        "log_loss": float(log_loss(labels, exact, labels=every)),
        "expected_calibration_error": expected_calibration_error(
            reliability(probabilities, labels)
        ),
        "unfamiliar_share": float(np.mean(predictions.energy < energy_threshold)),
    }


def reliability(
    probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> pd.DataFrame:
    """Confidence against accuracy in equal-width bins of the highest probability.

    Returns:
        One row for each bin that holds pictures: `pictures`, `confidence` (mean), `accuracy`.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    table = pd.DataFrame({"bin": bins, "confidence": confidence, "accuracy": correct})
    grouped = table.groupby("bin")
    return grouped.mean().assign(pictures=grouped.size()).reset_index()


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Mean gap between confidence and accuracy, weighted by pictures (Guo et al., 2017)."""
    gap = (table["confidence"] - table["accuracy"]).abs()
    return float((gap * table["pictures"]).sum() / table["pictures"].sum())


def per_class(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
) -> pd.DataFrame:
    """Precision, recall, F1 and number of pictures; one row for each class."""
    columns = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=np.arange(len(classes)), zero_division=0.0
    )
    names = ["precision", "recall", "f1", "pictures"]
    return pd.DataFrame(
        dict(zip(names, columns, strict=True)), index=pd.Index(classes, name="class")
    )


def evaluation(
    predictions: Predictions, split: Split, classes: tuple[str, ...], energy_threshold: float
) -> dict[str, Any]:
    """Everything measured on one split, as plain JSON types."""
    chosen = predictions.probabilities.argmax(axis=1)
    return {
        **metrics(predictions, split.labels, energy_threshold),
        "per_class": per_class(predictions.probabilities, split.labels, classes).to_dict("index"),
        "confusion_matrix": confusion_matrix(
            split.labels, chosen, labels=np.arange(len(classes))
        ).tolist(),
        "reliability": reliability(predictions.probabilities, split.labels).to_dict("records"),
    }
