"""Whether an exported file gives the answers of its Keras network."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from training.errors import TrainingError
from training.export import to_onnx
from training.export.calibration import Calibration
from training.measure.predict import predict
from training.train.checkpoint import Run

PICTURES = 1_000
BATCHES = (1, 64)
TOLERANCE = 1e-4


def verify(run: Run, model: Path, images: npt.NDArray[np.uint8], calibration: Calibration) -> float:
    """Compare both outputs of an exported file with its Keras network.

    Args:
        run: the run that the file was exported from.
        model: the ONNX file.
        images: uint8 (N, size, size, 3); the first 1,000 are used.
        calibration: of the file.

    Returns:
        The largest absolute difference of a probability or an energy.

    Raises:
        TrainingError: the difference is over 1e-4.
    """
    images = images[:PICTURES]
    scores = to_onnx.logits(to_onnx.load_float32(run), images)
    expected = calibration.apply(scores), logsumexp(scores, axis=1)
    worst = 0.0
    for batch in BATCHES:
        answer = predict(model, images, batch=batch)
        for got, want in zip((answer.probabilities, answer.energy), expected, strict=True):
            worst = max(worst, float(np.abs(got - want).max()))
    if not worst <= TOLERANCE:  # also true of NaN
        raise TrainingError(
            f"{model}: differs from its Keras network by {worst:.2g} (at most {TOLERANCE} is "
            "allowed); export it again"
        )
    return worst
