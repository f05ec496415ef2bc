"""What a picture costs on one processor core: exported files, timed side by side."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

# ONNX Runtime sends usage events unless this is set before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

ROUNDS = 50


def measure(paths: Iterable[Path], batches: Iterable[int] = (1, 32)) -> pd.DataFrame:
    """Time ONNX files on one core, taking turns, so that a busy moment meets all of them.

    What is measured is the processor time of the one thread that computes: on a free core that is
    the time that passes, and other programs on the machine change it little.

    Args:
        paths: the files; each takes `image`, uint8 (batch, height, width, 3).
        batches: pictures in one call.

    Returns:
        One row for each file and batch, columns `path`, `batch` and, in microseconds a picture
        over 50 rounds after a warm-up, `median`, `min` and `max`.
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
