"""The folder of an exported model: the ONNX files and their card."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from pydantic import ValidationError

from training.errors import TrainingError
from training.export.outputs import Fitted
from training.figures import Precision
from training.files import write_whole
from training.publish.card import Card, ExportedCard, ModelFile


class Artifact:
    """A folder with `model.onnx`, its variants and `card.json`, in a run or in the repository."""

    def __init__(self, folder: Path) -> None:
        """Reads and writes nothing yet."""
        self.folder = folder
        self.model = folder / "model.onnx"
        self.card = folder / "card.json"

    def read_exported(self) -> ExportedCard:
        """The card, evaluated or not.

        Raises:
            TrainingError: there is no card, it is not valid, or a file is not the one that it
                describes.
        """
        if not self.card.exists() or not self.model.exists():
            raise TrainingError(f"{self.folder}: nothing exported here; run `export` first")
        try:
            values = json.loads(self.card.read_text())
            card = (Card if "metrics" in values else ExportedCard).model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise TrainingError(f"{self.card}: {where}: {first['msg']}") from None
        except (ValueError, TypeError):
            raise TrainingError(f"{self.card}: not a JSON object") from None
        for name, stated in card.files.items():
            path = self.folder / name
            if not path.exists() or stated.sha256 != sha256(path):
                raise TrainingError(f"{path}: not the file of its card; `export` again")
        return card

    def read_card(self) -> Card:
        """The card with all figures.

        Raises:
            TrainingError: as in `read_exported`, or the files are not verified and evaluated.
        """
        card = self.read_exported()
        if isinstance(card, Card):
            return card
        step = "verify" if card.parity is None else "evaluate"
        raise TrainingError(f"{self.folder}: not complete: run `{step}` first")

    def variants(self, card: ExportedCard) -> list[Path]:
        """The files beside `model.onnx`."""
        return [self.folder / name for name in card.files if name != self.model.name]

    def write_card(self, card: ExportedCard) -> None:
        """Write the card, whole or not at all."""
        text = json.dumps(card.to_json(), indent=1) + "\n"
        write_whole(self.card, lambda path: path.write_text(text))


def of_run(folder: Path) -> Artifact:
    """The exported model of a run, before it is published."""
    return Artifact(folder / "artifact")


def describe(
    path: Path, precision: Precision, fitted: Fitted, ranges: str | None = None
) -> ModelFile:
    """The card's entry for a file, with what was fitted to it, and how int8 ranges were found."""
    return ModelFile(
        sha256=sha256(path),
        bytes=path.stat().st_size,
        precision=precision,
        energy_threshold=fitted.energy_threshold,
        calibration=ranges,
        second_view=fitted.second_view,
        label_sets=None if fitted.label_sets is None else dict(fitted.label_sets),
        **asdict(fitted.calibration),
    )


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
