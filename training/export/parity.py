"""All that was exported gives the answers of the network, or the artifact goes no further."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from training.errors import TrainingError
from training.export import to_onnx
from training.export.calibration import Calibration
from training.measure import metrics
from training.train.checkpoint import Run

PICTURES = 1_000
BATCHES = (1, 64)
TOLERANCE = 1e-4
VARIANT_TOLERANCE = 0.05


def verify(run: Run, model: Path, images: npt.NDArray[np.uint8], calibration: Calibration) -> float:
    """Compare both outputs of an exported file with its Keras network.

    Args:
        run: the run that the file was exported from.
        model: the ONNX file.
        images: uint8 (N, size, size, 3); the first 1,000 are used.
        calibration: of the export.

    Returns:
        The greatest absolute difference of a probability or an energy.

    Raises:
        TrainingError: the difference is over 1e-4.
    """
    images = images[:PICTURES]
    scores = to_onnx.logits(to_onnx.load_float32(run), images)
    expected = calibration.apply(scores), logsumexp(scores, axis=1)
    worst = 0.0
    for batch in BATCHES:
        answer = metrics.predict(model, images, batch=batch)
        for got, want in zip((answer.probabilities, answer.energy), expected, strict=True):
            worst = max(worst, float(np.abs(got - want).max()))
    if not worst <= TOLERANCE:  # also true of NaN
        raise TrainingError(
            f"{model}: differs from its Keras network by {worst:.2g} (at most {TOLERANCE} is "
            "allowed); export it again"
        )
    return worst


def agreement(model: Path, variant: Path, images: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Compare a faster file with `model.onnx`.

    Args:
        model: `model.onnx`.
        variant: the file beside it.
        images: uint8 (N, size, size, 3); the first 1,000 are used.

    Returns:
        `pictures`, their number; `same_first_class`, the share of them that both files put into
        the same class; `largest_difference` of a probability.

    Raises:
        TrainingError: the largest difference of a probability is over 0.05 on average.
    """
    images = images[:PICTURES]
    full, own = (metrics.predict(path, images).probabilities for path in (model, variant))
    differences = np.abs(full - own).max(axis=1)
    mean = float(differences.mean())
    if not mean <= VARIANT_TOLERANCE:  # also true of NaN
        raise TrainingError(
            f"{variant}: its probabilities differ from those of {model.name} by {mean:.2g} on "
            f"average (at most {VARIANT_TOLERANCE} is allowed); delete it and export again"
        )
    return {
        "pictures": len(images),
        "same_first_class": float(np.mean(full.argmax(axis=1) == own.argmax(axis=1))),
        "largest_difference": float(differences.max()),
    }
