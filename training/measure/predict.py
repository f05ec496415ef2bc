"""Runs an exported ONNX file over pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

BATCH = 64  # what larger ones compute leaves the caches of a processor


@dataclass(frozen=True)
class Predictions:
    """The outputs of a model for N pictures.

    Attributes:
        probabilities: float32 (N, classes); rows sum to 1.
        energy: float32 (N,); higher is more familiar.
    """

    probabilities: npt.NDArray[np.float32]
    energy: npt.NDArray[np.float32]


def predict(model: Path, images: npt.NDArray[np.uint8], *, batch: int = BATCH) -> Predictions:
    """Run an exported file on the CPU over uint8 pictures (N, size, size, 3)."""
    return Predictions(*run(model, ["probabilities", "energy"], images, batch=batch))


def right(
    model: Path, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Which pictures (N, size, size, 3) a file puts into the class of their labels (N,)."""
    return np.asarray(predict(model, images).probabilities.argmax(axis=1) == labels)


def run(
    model: Path | bytes, outputs: list[str], images: npt.NDArray[np.uint8], *, batch: int = BATCH
) -> list[npt.NDArray[np.float32]]:
    """The named outputs of an ONNX file, or of its bytes, for uint8 pictures (N, size, size, 3)."""
    options = ort.SessionOptions()
    # Threads that wait for work in a loop take processor time from all else on the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    parts = [
        session.run(outputs, {"image": images[start : start + batch]})
        for start in range(0, len(images), batch)
    ]
    return [np.concatenate(values) for values in zip(*parts, strict=True)]
