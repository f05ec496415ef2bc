"""The model repository, `<models>/<name>/<version>/`: find a version, verify it, read its card."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from service.errors import ModelNotFoundError, ModelRefusedError
from service.inference.resizing import ResizeRule

MODEL_FILE = "model.onnx"
CARD_FILE = "card.json"


class CardFile(BaseModel):
    """What the card says of one file."""

    sha256: str
    precision: str = "float32"
    energy_threshold: float | None = None


class Card(BaseModel):
    """The part of card.json that serving needs; all other keys are ignored.

    Attributes:
        name: of the model.
        version: of the model.
        labels: names of the classes.
        resize: how pictures are brought to the model's size.
        energy_threshold: of `model.onnx`, and of the files that state none of their own.
        files: what there is, by file name.
        accuracy_loss_limit: most accuracy, in 0..1, that a faster file may lose to be chosen.
        metrics: measured figures by file and split, of any shape: no figure is needed to serve.
    """

    name: str
    version: int
    labels: list[str]
    resize: ResizeRule
    energy_threshold: float
    files: dict[str, CardFile]
    accuracy_loss_limit: float = 0.0
    metrics: Any = None


@dataclass(frozen=True, slots=True)
class StoredModel:
    """One version of a model: its folder and its card."""

    folder: Path
    card: Card


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A verified model file, in memory so that what was verified is what is loaded."""

    card: Card
    path: Path
    data: bytes
    sha256: str
    energy_threshold: float


def load(models: Path, name: str, version: int | None = None) -> StoredModel:
    """Finds one version of a model, the newest if none is named, and reads its card.

    Raises:
        ModelNotFoundError: there is no such model or version.
        ModelRefusedError: the folder or the card is unreadable.
    """
    folder = _find(models, name, version)
    return StoredModel(folder, _read_card(folder / CARD_FILE))


def choose(model: StoredModel, variant: str, precision: str) -> str:
    """Names the file of a model to serve.

    Args:
        model: the stored model.
        variant: name of the file, or `auto`.
        precision: what `auto` prefers, where the card shows that it keeps the accuracy.

    Raises:
        ModelNotFoundError: the card lists no such file.
    """
    if variant == "auto":
        for name, file in model.card.files.items():
            if file.precision == precision and _keeps_accuracy(model.card, name):
                return name
        return MODEL_FILE
    if variant not in model.card.files:
        known = ", ".join(model.card.files)
        raise ModelNotFoundError(f"{model.folder} has no {variant!r}; these are there: {known}.")
    return variant


def read(model: StoredModel, name: str) -> StoredFile:
    """Reads one file of a model.

    Raises:
        ModelRefusedError: it cannot be read, or is not the one that the card describes.
    """
    path, card = model.folder / name, model.card
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelRefusedError(f"{path} cannot be read: {error.strerror}.") from error
    if name not in card.files:
        raise ModelRefusedError(f"{path.with_name(CARD_FILE)} does not list {name}; {_REPUBLISH}")
    stated = card.files[name]
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != stated.sha256:
        raise ModelRefusedError(
            f"{path} has not the sha256 that its card states: the file was changed or damaged; "
            f"{_REPUBLISH}"
        )
    own = stated.energy_threshold
    return StoredFile(card, path, data, sha256, card.energy_threshold if own is None else own)


def check_metadata(file: StoredFile, metadata: dict[str, str]) -> None:
    """Makes sure that the card says what a model file says of itself.

    Args:
        file: the stored file.
        metadata: its ONNX metadata properties.

    Raises:
        ModelRefusedError: a property is missing, unreadable, or not what the card says.
    """
    card = file.card
    for key, stated in {
        "name": card.name,
        "version": card.version,
        "labels": card.labels,
        "resize": card.resize.model_dump(),
        "energy_threshold": file.energy_threshold,
    }.items():
        try:
            actual = metadata[key] if key == "name" else json.loads(metadata[key])
        except (KeyError, ValueError) as error:
            raise ModelRefusedError(
                f"{file.path} has no readable metadata property {key!r}; {_REPUBLISH}"
            ) from error
        if actual != stated:
            raise ModelRefusedError(
                f"{file.path} and its {CARD_FILE} disagree on {key!r} "
                f"({actual!r} and {stated!r}); {_REPUBLISH}"
            )


def _keeps_accuracy(card: Card, name: str) -> bool:
    """Whether a file was measured and is within the card's limit of `model.onnx`."""
    for split in ("test", "validation"):
        try:
            full, own = (card.metrics[file][split]["accuracy"] for file in (MODEL_FILE, name))
            return bool(round(full - own, 6) <= card.accuracy_loss_limit)
        except (KeyError, TypeError):  # not measured on this split
            continue
    return False


_REPUBLISH = "publish the model again, or restore both files from a good copy."


def _find(models: Path, name: str, version: int | None) -> Path:
    try:
        versions = _versions(models / name)
    except OSError as error:
        raise ModelRefusedError(f"{models / name} cannot be read: {error.strerror}.") from error
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
