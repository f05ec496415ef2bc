"""The artifact on disk: `model.onnx` and its card, and the atomic step into the repository."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from training.errors import TrainingError


class Artifact:
    """A folder with `model.onnx` and `card.json`, in a run or in the model repository."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is read or written yet."""
        self.folder = folder
        self.model = folder / "model.onnx"
        self.card = folder / "card.json"

    def read_card(self) -> dict[str, Any]:
        """The card as it stands.

        Raises:
            TrainingError: there is no card, or the model is not the one that it describes.
        """
        if not self.card.exists() or not self.model.exists():
            raise TrainingError(f"{self.folder}: nothing exported here; run `export` first")
        card: dict[str, Any] = json.loads(self.card.read_text())
        if card["files"]["model.onnx"]["sha256"] != sha256(self.model):
            raise TrainingError(f"{self.model}: not the file of its card; `export` again")
        return card

    def write_card(self, card: dict[str, Any]) -> None:
        """Replace the card as a whole."""
        unfinished = self.card.with_name("unfinished-card.json")
        unfinished.write_text(json.dumps(card, indent=1) + "\n")
        unfinished.replace(self.card)


def of_run(folder: Path) -> Artifact:
    """Where a run's exported file and card lie until they are published."""
    return Artifact(folder / "artifact")


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions(models: Path, name: str) -> list[int]:
    """Published versions of a model, oldest first."""
    return sorted(int(path.name) for path in (models / name).glob("[1-9]*") if path.name.isdigit())


def publish(artifact: Artifact, models: Path) -> Path:
    """Put a verified and evaluated artifact into the model repository, whole or not at all.

    Returns:
        The version's folder, `models/<name>/<version>`.

    Raises:
        TrainingError: it was not verified or evaluated, or its version was taken meanwhile.
    """
    card = artifact.read_card()
    for step, key in (("verify", "parity"), ("evaluate", "metrics")):
        if key not in card:
            raise TrainingError(f"{artifact.folder}: not published: run `{step}` first")
    target: Path = models / card["name"] / str(card["version"])
    # A dot keeps the unfinished folder out of every server's sight.
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    try:
        for path in (artifact.model, artifact.card):
            shutil.copy(path, unfinished)
        unfinished.rename(target)
    except OSError as error:
        if not target.exists():
            raise
        raise TrainingError(
            f"{target}: this version exists already; `export` again to take the next"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target
