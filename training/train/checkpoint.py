"""The folder of a training run, which survives a kill at any moment."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from training.errors import TrainingError

HISTORY_COLUMNS = [
    "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
]  # fmt: skip


class Run:
    """A folder that holds one training run: `run.json`, `checkpoint.keras`, `history.csv`."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is read or written yet."""
        self.folder = folder
        self.settings = folder / "run.json"
        self.checkpoint = folder / "checkpoint.keras"
        self.history = folder / "history.csv"

    def read_settings(self) -> dict[str, Any]:
        """What the run was started with.

        Raises:
            TrainingError: there is no run in the folder.
        """
        if not self.settings.exists() or not self.checkpoint.exists():
            raise TrainingError(f"{self.folder}: no training run here; start one with `fit`")
        settings: dict[str, Any] = json.loads(self.settings.read_text())
        return settings

    def read_history(self) -> pd.DataFrame:
        """One row for each finished epoch, columns `HISTORY_COLUMNS`."""
        if not self.history.exists():
            return pd.DataFrame(columns=HISTORY_COLUMNS)
        return pd.read_csv(self.history)

    def save(self, model: keras.Model, history: pd.DataFrame) -> None:
        """Write the state after an epoch; a kill leaves the old state or the new one."""
        write_whole(self.history, lambda path: history.to_csv(path, index=False))
        write_whole(self.checkpoint, model.save)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(f"unfinished-{path.name}")
    write(unfinished)
    unfinished.replace(path)
