"""Time of a picture on one processor core."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pandas as pd

from training import environment
from training.figures import Figures

ROUNDS = 50
BATCHES = (1, 32)  # pictures in one call
UNIT = "microseconds of one core a picture"


class Timing(Figures):
    """Time of a picture in microseconds."""

    median: float
    min: float
    max: float


class Latency(Figures):
    """Times of exported files.

    Attributes:
        hardware: that they were measured on.
        unit: of the times.
        files: by file name and number of pictures in a call.
    """

    hardware: str
    unit: str
    files: dict[str, dict[int, Timing]]


def figures(paths: Sequence[Path]) -> Latency:
    """The times of exported files, for their card."""
    files: dict[str, dict[int, Timing]] = {path.name: {} for path in paths}
    for row in measure(paths).to_dict("records"):
        files[row["path"].name][row["batch"]] = Timing(
            median=round(row["median"], 1), min=round(row["min"], 1), max=round(row["max"], 1)
        )
    return Latency(hardware=environment.hardware(), unit=UNIT, files=files)


def measure(paths: Iterable[Path], batches: Iterable[int] = BATCHES) -> pd.DataFrame:
    """Time ONNX files on one core, alternately, so that load on the machine affects all alike.

    Measured is the processor time of the one thread that computes. On a free core it equals the
    elapsed time, and other programs change it little.

    Args:
        paths: the files; each takes `image`, uint8 (batch, height, width, 3).
        batches: pictures in one call.

    Returns:
        One row for each file and batch, with `path`, `batch`, and `median`, `min` and `max` of
        the microseconds a picture in 50 rounds after a warm-up.
    """
    sessions = {path: _open(path) for path in paths}
    rows = []
    for batch in batches:
        feeds = {path: _pictures(session, batch) for path, session in sessions.items()}
        for path, session in sessions.items():
            session.run(None, feeds[path])
        seconds: dict[Path, list[float]] = {path: [] for path in sessions}
        for _ in range(ROUNDS):
            for path, session in sessions.items():
                start = time.thread_time()
                session.run(None, feeds[path])
                seconds[path].append(time.thread_time() - start)
        for path, values in seconds.items():
            each = np.asarray(values) / batch * 1e6
            rows.append(
                {"path": path, "batch": batch, "median": float(np.median(each)),
                 "min": float(each.min()), "max": float(each.max())}
            )  # fmt: skip
    return pd.DataFrame(rows)


def _open(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _pictures(session: ort.InferenceSession, batch: int) -> dict[str, np.ndarray]:
    _, *shape = session.get_inputs()[0].shape
    noise = np.random.default_rng(0).integers(0, 256, (batch, *shape), dtype=np.uint8)
    return {"image": noise}
