"""All models of a repository: what their cards say, and whether they hold what they say."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from service.errors import ModelNotFoundError, ModelRefusedError, ServiceError
from service.inference.classifier import Classifier
from service.inference.repository import CARD_FILE, Card


@dataclass(frozen=True, slots=True)
class Entry:
    """One model file.

    Attributes:
        model: name of the model.
        version: version of the model.
        file: name of the file.
        bytes: its size.
        accuracy: measured accuracy in 0..1, None without a figure.
        split: what it was measured on, `test` where there is such a figure.
        height: height of the input in pixels.
        width: width of the input in pixels.
        classes: number of classes.
    """

    model: str
    version: int
    file: str
    bytes: int
    accuracy: float | None
    split: str | None
    height: int
    width: int
    classes: int


class _Size(BaseModel):
    height: int
    width: int


class _Figures(BaseModel):
    accuracy: float


class _Card(Card):
    input: _Size
    metrics: dict[str, dict[str, _Figures]] = Field({})


def versions(models: Path) -> list[Path]:
    """Lists the folders of all versions, by model and number.

    Raises:
        ModelNotFoundError: there is none.
    """
    folders = [folder for folder in models.glob("*/[1-9]*") if folder.name.isdecimal()]
    if not folders:
        raise ModelNotFoundError(f"There are no models in {models.absolute()}.")
    return sorted(folders, key=lambda folder: (folder.parent.name, int(folder.name)))


def entries(folder: Path) -> list[Entry]:
    """Reads what the card of one version says of each of its files.

    Raises:
        ModelRefusedError: the card or a file is missing or cannot be read.
    """
    card = _read_card(folder)
    return [_entry(folder / file, card) for file in card.files]


def verify(folder: Path) -> Iterator[tuple[str, ServiceError | None]]:
    """Opens each file of one version: its sha256, its metadata, and a first answer.

    Yields:
        The name of the file, and why it is refused, None if it is not.
    """
    try:
        card = _read_card(folder)
    except ModelRefusedError as error:
        yield CARD_FILE, error
        return
    for file in card.files:
        try:
            Classifier.open(
                folder.parent.parent,
                folder.parent.name,
                int(folder.name),
                variant=file,
                provider="cpu",
            )
        except ServiceError as error:
            yield file, error
        else:
            yield file, None


def _read_card(folder: Path) -> _Card:
    path = folder / CARD_FILE
    try:
        return _Card.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelRefusedError(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelRefusedError(f"{path} is not a model card: {where}: {first['msg']}.") from error


def _entry(path: Path, card: _Card) -> Entry:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ModelRefusedError(f"{path} cannot be read: {error.strerror}.") from error
    figures = card.metrics.get(path.name, {})
    split = next((name for name in ("test", "validation") if name in figures), None)
    return Entry(
        model=card.name,
        version=card.version,
        file=path.name,
        bytes=size,
        accuracy=figures[split].accuracy if split else None,
        split=split,
        height=card.input.height,
        width=card.input.width,
        classes=len(card.labels),
    )
