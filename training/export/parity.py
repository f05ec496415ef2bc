"""Whether exported files give the answers of the network in the checkpoint, or of their logits."""

from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from training.errors import TrainingError
from training.export import outputs
from training.export.calibration import Calibration
from training.export.outputs import TOLERANCE
from training.measure.predict import predict
from training.train.checkpoint import Run

SINGLE_PICTURES = 500  # are also answered one by one
BATCH = 64
# Of the outputs of a file against those of its own logits, which round but little.
OWN_PICTURES = 1_000
OWN_TOLERANCE = 1e-5


def verify(run: Run, model: Path, images: npt.NDArray[np.uint8], calibration: Calibration) -> float:
    """Compare both outputs of an exported file with the trained network.

    The reference is the network as it was trained, layer by layer from the checkpoint: nothing that
    the export rebuilds, folds or reorders is part of it. It computes in float32.

    Args:
        run: the run that the file was exported from.
        model: the ONNX file.
        images: uint8 (N, size, size, 3).
        calibration: of the file.

    Returns:
        The largest absolute difference of a probability or an energy.

    Raises:
        TrainingError: the difference is over 1e-4, or a picture gets another first class.
    """
    scores = np.asarray(trained(run).predict(images, batch_size=500, verbose=0), np.float32)
    # The export makes the logits of each picture sum to zero, which defines the energy.
    scores -= scores.mean(axis=1, keepdims=True)
    expected = calibration.apply(scores), logsumexp(scores, axis=1)
    worst, others = 0.0, 0
    for batch, count in ((BATCH, len(images)), (1, min(SINGLE_PICTURES, len(images)))):
        answer = predict(model, images[:count], batch=batch)
        first = answer.probabilities.argmax(axis=1)
        others = max(others, int(np.sum(first != scores[:count].argmax(axis=1))))
        for got, want in zip((answer.probabilities, answer.energy), expected, strict=True):
            worst = max(worst, float(np.abs(got - want[:count]).max()))
    if others or not worst <= TOLERANCE:  # also true of NaN
        raise TrainingError(
            f"{model}: differs from the trained network by {worst:.2g} (at most {TOLERANCE} is "
            f"allowed), and in the first class of {others} of {len(images)} pictures; export it "
            "again"
        )
    return worst


def verify_outputs(path: Path, images: npt.NDArray[np.uint8], calibration: Calibration) -> None:
    """Compare the outputs of an exported file with what its logits become by its calibration.

    Args:
        path: `model.onnx` or a faster file.
        images: uint8 (N, size, size, 3); the first 1,000 are used.
        calibration: of the file.

    Raises:
        TrainingError: a probability or, in relation to its size, an energy differs by over 1e-5.
    """
    scores, own = outputs.with_logits(path, images[:OWN_PICTURES])
    energy = logsumexp(scores, axis=1)
    differences = {
        "probabilities": np.abs(own.probabilities - calibration.apply(scores)),
        "energies": np.abs(own.energy - energy) / np.maximum(1, np.abs(energy)),
    }
    for what, difference in differences.items():
        worst = float(difference.max())
        if not worst <= OWN_TOLERANCE:  # also true of NaN
            raise TrainingError(
                f"{path}: its {what} differ from those of its logits by {worst:.2g} (at most "
                f"{OWN_TOLERANCE} is allowed); export it again"
            )


def trained(run: Run) -> keras.Model:
    """The network in the checkpoint in its training form, in float32."""
    network = keras.saving.load_model(run.checkpoint, compile=False)
    in_float32 = keras.models.clone_model(
        network,
        clone_function=lambda layer: type(layer).from_config(
            layer.get_config() | {"dtype": "float32"}
        ),
    )
    in_float32.set_weights(network.get_weights())
    return in_float32
