"""The model repository, `<models>/<name>/<version>/`: find a version, verify it, read its card."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from service.errors import ModelNotFoundError, ModelRefusedError
from service.images import ResizeRule

MODEL_FILE = "model.onnx"
CARD_FILE = "card.json"


class CardFile(BaseModel):
    """What the card says of one file."""

    sha256: str


class Card(BaseModel):
    """The part of card.json that serving needs; all other keys are ignored."""

    name: str
    version: int
    labels: list[str]
    resize: ResizeRule
    energy_threshold: float
    files: dict[str, CardFile]


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A verified model file, in memory so that what was verified is what is loaded."""

    card: Card
    path: Path
    data: bytes
    sha256: str


def load(models: Path, name: str, version: int | None = None) -> StoredModel:
    """Reads one version of a model, the newest if none is named.

    Raises:
        ModelNotFoundError: there is no such model or version.
        ModelRefusedError: the card is unreadable, or the file is not the one it describes.
    """
    folder = _find(models, name, version)
    card = _read_card(folder / CARD_FILE)
    path = folder / MODEL_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelRefusedError(f"{path} cannot be read: {error.strerror}.") from error
    if path.name not in card.files:
        raise ModelRefusedError(f"{folder / CARD_FILE} does not list {path.name}; {_REPUBLISH}")
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != card.files[path.name].sha256:
        raise ModelRefusedError(
            f"{path} has not the sha256 that its card states: the file was changed or damaged; "
            f"{_REPUBLISH}"
        )
    return StoredModel(card, path, data, sha256)


def check_metadata(model: StoredModel, metadata: dict[str, str]) -> None:
    """Makes sure that the card says what the model file says of itself.

    Args:
        model: the stored model.
        metadata: the metadata properties of its ONNX file.

    Raises:
        ModelRefusedError: a property is missing, unreadable, or not what the card says.
    """
    card = model.card
    for key, stated in {
        "name": card.name,
        "version": card.version,
        "labels": card.labels,
        "resize": card.resize.model_dump(),
        "energy_threshold": card.energy_threshold,
    }.items():
        try:
            actual = metadata[key] if key == "name" else json.loads(metadata[key])
        except (KeyError, ValueError) as error:
            raise ModelRefusedError(
                f"{model.path} has no readable metadata property {key!r}; {_REPUBLISH}"
            ) from error
        if actual != stated:
            raise ModelRefusedError(
                f"{model.path} and its {CARD_FILE} disagree on {key!r} "
                f"({actual!r} and {stated!r}); {_REPUBLISH}"
            )


_REPUBLISH = "publish the model again, or restore both files from a good copy."


def _find(models: Path, name: str, version: int | None) -> Path:
    versions = _versions(models / name)
    if not versions:
        raise ModelNotFoundError(
            f"There is no model {name!r} in {models.absolute()}; publish one there, or point "
            "CIFAR10_MODELS and CIFAR10_MODEL at one."
        )
    chosen = max(versions) if version is None else version
    if chosen not in versions:
        known = ", ".join(map(str, sorted(versions)))
        raise ModelNotFoundError(
            f"Model {name!r} has no version {chosen}; these are there: {known}."
        )
    return models / name / str(chosen)


def _versions(folder: Path) -> set[int]:
    if not folder.is_dir():
        return set()
    names = (entry.name for entry in folder.iterdir() if entry.is_dir())
    return {int(name) for name in names if name.isascii() and name.isdigit() and name[0] != "0"}


def _read_card(path: Path) -> Card:
    try:
        return Card.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelRefusedError(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelRefusedError(f"{path} is not a model card: {where}: {first['msg']}.") from error
