"""The folder of a training run; it stays consistent when the process is killed."""

import contextlib
import datetime as dt
import fcntl
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import keras
import pandas as pd
from pydantic import ValidationError

from training.data.dataset import DataFacts
from training.errors import TrainingError
from training.figures import Figures
from training.files import write_whole
from training.presets import PresetField

MEASURED = ("loss", "accuracy", "val_loss", "val_accuracy")
HISTORY_COLUMNS = ["epoch", *MEASURED, "learning_rate", "seconds", "processor_seconds"]


class Origin(Figures):
    """When and with what a run was started.

    Attributes:
        date: of the start.
        hardware: of `environment.hardware`.
        libraries: versions, by name.
        precision: Keras dtype policy.
        devices: number of devices that share each batch.
        code: digest of the sources that train; None where it was not recorded.
    """

    date: dt.date
    hardware: str
    libraries: dict[str, str]
    precision: str
    devices: int
    code: str | None = None


class Settings(Figures):
    """What decides the result of a run, and its origin.

    Attributes:
        preset: what is trained.
        seed: of everything random.
        classes: class names in the order of the labels.
        data: the data set.
        origin: when and with what the run was started.
        changes: what was another library, machine or code when it was resumed, in words.
    """

    preset: PresetField
    seed: int
    classes: tuple[str, ...]
    data: DataFacts
    origin: Origin
    changes: tuple[str, ...] = ()


class Run:
    """A folder that holds one training run.

    `run.json` has its settings, `checkpoint.keras` and `history.csv` its state when it was last
    saved, which may be within an epoch, and `clock.json` the time that was spent on that epoch.
    """

    def __init__(self, folder: Path) -> None:
        """Reads and writes nothing yet."""
        self.folder = folder
        self.settings = folder / "run.json"
        self.checkpoint = folder / "checkpoint.keras"
        self.history = folder / "history.csv"
        self.clock = folder / "clock.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """The context in which a process may write the run.

        Raises:
            TrainingError: another process trains in the folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TrainingError(f"{self.folder}: another process trains here") from None
            except OSError:  # a file system without locks
                pass
            yield

    def read_settings(self) -> Settings:
        """The settings that the run was started with.

        Raises:
            TrainingError: the folder holds no run, or one of another version of this package.
        """
        if not self.settings.exists() or not self.checkpoint.exists():
            raise TrainingError(f"{self.folder}: no training run here; start one with `fit`")
        try:
            return Settings.model_validate_json(self.settings.read_bytes())
        except ValidationError as error:
            raise TrainingError(
                f"{self.settings}: not the settings of a run: {error.errors()[0]['msg']}"
            ) from None

    def write_settings(self, settings: Settings) -> None:
        """Write the settings of a new run, whole or not at all."""
        text = json.dumps(settings.to_json(), indent=1)
        write_whole(self.settings, lambda path: path.write_text(text))

    def epochs(self) -> int:
        """Number of epochs that the checkpoint has finished; the history may be ahead of it.

        Raises:
            TrainingError: the folder holds no run, or its checkpoint is not valid.
        """
        settings = self.read_settings()
        try:
            # Keras would build the whole network for this number.
            with (
                zipfile.ZipFile(self.checkpoint) as parts,
                parts.open("model.weights.h5") as weights,
                h5py.File(weights) as arrays,
            ):
                steps = int(arrays["optimizer/vars/0"][()])
        except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
            raise TrainingError(f"{self.checkpoint}: not the checkpoint of a run") from None
        return steps // settings.preset.steps(settings.data.train)

    def read_history(self) -> pd.DataFrame:
        """One row for each epoch that the checkpoint has finished, with `HISTORY_COLUMNS`.

        What was not measured is missing: on validation in some epochs, processor time by earlier
        versions of this package. Loss and accuracy of an epoch in which the run was resumed are
        those of the steps after that; those of sharpness-aware steps are of perturbed weights.

        Raises:
            TrainingError: the files are not those of a run.
        """
        if not self.history.exists() or not self.checkpoint.exists():
            return pd.DataFrame(columns=HISTORY_COLUMNS)
        try:
            rows = pd.read_csv(self.history)
        except ValueError as error:
            raise TrainingError(f"{self.history}: not the history of a run: {error}") from None
        return rows.reindex(columns=HISTORY_COLUMNS).iloc[: self.epochs()]

    def is_finished(self) -> bool:
        """Whether the folder holds a run and all its epochs are trained."""
        started = self.settings.exists() and self.checkpoint.exists()
        return started and self.epochs() >= self.read_settings().preset.epochs

    def save(self, model: keras.Model, history: pd.DataFrame) -> None:
        """Write the state after a step; a kill leaves the old state or the new one.

        The history may then be ahead of the checkpoint.
        """
        write_whole(self.history, lambda path: history.to_csv(path, index=False))
        write_whole(self.checkpoint, model.save)


def histories(run: Run) -> dict[int, pd.DataFrame]:
    """The history of a run and of the runs beside it that differ by their seed only, by seed.

    What lies beside it and cannot be read as a run is left out.
    """
    own = run.read_settings()
    found = {}
    for path in sorted(run.folder.parent.glob("*/checkpoint.keras")):
        beside = Run(path.parent)
        with contextlib.suppress(TrainingError, OSError):
            settings = beside.read_settings()
            if (settings.preset, settings.data) == (own.preset, own.data):
                found[settings.seed] = beside.read_history()
    return found | {own.seed: run.read_history()}
