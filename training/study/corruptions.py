"""Measures exported files on the corruptions of CIFAR-10-C, made of the pictures of a split."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from training.data.dataset import Split
from training.errors import TrainingError
from training.measure.corruptions import CORRUPTIONS, SEVERITIES, SIZE, corrupted
from training.measure.predict import predict
from training.measure.second_view import SecondView, as_served


def measure(model: Path, split: Split, rule: SecondView | None) -> pd.DataFrame:
    """Accuracy of an exported file as served, with its second views.

    Args:
        model: the ONNX file.
        split: N pictures of 32 x 32 pixels.
        rule: of the second views of the file; None where it has none.

    Returns:
        One row for each corruption and their `mean`; a column for each severity and their `mean`.

    Raises:
        TrainingError: the pictures have another size.
    """
    if split.images.shape[1:3] != (SIZE, SIZE):
        raise TrainingError(f"{model}: CIFAR-10-C has pictures of {SIZE} x {SIZE} pixels only")
    severities = range(1, SEVERITIES + 1)
    cells = [(corruption, severity) for corruption in CORRUPTIONS for severity in severities]
    table = pd.DataFrame(index=pd.Index(CORRUPTIONS), columns=severities, dtype=float)
    pause = 0.2 if sys.stderr.isatty() else 60
    for corruption, severity in tqdm(cells, unit="copy", mininterval=pause, leave=False):
        images = corrupted(split.images, corruption, severity)
        answers = as_served(rule, model, images, predict(model, images)).probabilities
        table.loc[corruption, severity] = np.mean(answers.argmax(axis=1) == split.labels)
    table.loc["mean"] = table.mean()
    return table.assign(mean=table.mean(axis=1))
