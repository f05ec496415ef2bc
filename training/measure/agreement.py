"""Whether a faster file gives the answers of `model.onnx`."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.errors import TrainingError
from training.figures import Figures
from training.measure.predict import predict

PICTURES = 1_000
TOLERANCE = 0.05


class Agreement(Figures):
    """How far the answers of two files agree.

    Attributes:
        pictures: number of pictures.
        same_first_class: share of them that both files put into the same class.
        largest_difference: of a probability.
    """

    pictures: int
    same_first_class: float
    largest_difference: float


def agreement(model: Path, variant: Path, images: npt.NDArray[np.uint8]) -> Agreement:
    """Compare a faster file with `model.onnx`.

    Args:
        model: `model.onnx`.
        variant: the file beside it.
        images: uint8 (N, size, size, 3); the first 1,000 are used.

    Raises:
        TrainingError: the mean over the pictures of the largest difference of a probability is
            over 0.05.
    """
    images = images[:PICTURES]
    full, own = (predict(path, images).probabilities for path in (model, variant))
    differences = np.abs(full - own).max(axis=1)
    mean = float(differences.mean())
    if not mean <= TOLERANCE:  # also true of NaN
        raise TrainingError(
            f"{variant}: its probabilities differ from those of {model.name} by {mean:.2g} on "
            f"average (at most {TOLERANCE} is allowed); export again"
        )
    return Agreement(
        pictures=len(images),
        same_first_class=float(np.mean(full.argmax(axis=1) == own.argmax(axis=1))),
        largest_difference=float(differences.max()),
    )
