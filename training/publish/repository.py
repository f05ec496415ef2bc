"""The artifact on disk: model files and their card, and the atomic step into the repository."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from training.errors import TrainingError


class Artifact:
    """A folder with `model.onnx`, its variants and `card.json`, in a run or in the repository."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is read or written yet."""
        self.folder = folder
        self.model = folder / "model.onnx"
        self.card = folder / "card.json"

    def read_card(self) -> dict[str, Any]:
        """The card as it stands.

        Raises:
            TrainingError: there is no card, or a file is not the one that it describes.
        """
        if not self.card.exists() or not self.model.exists():
            raise TrainingError(f"{self.folder}: nothing exported here; run `export` first")
        card: dict[str, Any] = json.loads(self.card.read_text())
        for name, stated in card["files"].items():
            path = self.folder / name
            if not path.exists() or stated["sha256"] != sha256(path):
                raise TrainingError(f"{path}: not the file of its card; `export` again")
        return card

    def variants(self, card: dict[str, Any]) -> list[Path]:
        """The files that lie beside `model.onnx`."""
        return [self.folder / name for name in card["files"] if name != self.model.name]

    def write_card(self, card: dict[str, Any]) -> None:
        """Replace the card as a whole."""
        unfinished = self.card.with_name("unfinished-card.json")
        unfinished.write_text(json.dumps(card, indent=1) + "\n")
        unfinished.replace(self.card)


def of_run(folder: Path) -> Artifact:
    """Where a run's exported file and card lie until they are published."""
    return Artifact(folder / "artifact")


def describe(path: Path, precision: str, energy_threshold: float) -> dict[str, Any]:
    """What a card says of a file."""
    return {
        "sha256": sha256(path),
        "bytes": path.stat().st_size,
        "precision": precision,
        "energy_threshold": energy_threshold,
    }


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
        for name in (*card["files"], artifact.card.name):
            shutil.copy(artifact.folder / name, unfinished)
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
