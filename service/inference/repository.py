"""The model repository, `<models>/<name>/<version>/`: list it, find a version, read its card.

A folder that holds a card itself is a repository of that one version, as KServe mounts it.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from service.errors import ModelNotFoundError, ModelRefusedError
from service.inference.card import CARD_FILE, MODEL_FILE, Card, parse_card


@dataclass(frozen=True, slots=True)
class StoredModel:
    """One version of a model: its folder, the name and number that it has there, and its card."""

    folder: Path
    name: str
    version: int
    card: Card
    card_json: bytes


def available(models: Path, name: str | None = None) -> dict[str, list[int]]:
    """Lists the versions of each model, ascending, by name of the model; empty without a folder.

    A model whose folder cannot be read has no versions. Names that begin with a dot are skipped,
    since volumes of Kubernetes have such folders, and so is `lost+found` of file systems. A
    repository of one version has the given name for it, or else the one it was published under.

    Raises:
        ModelRefusedError: the folder of the repository cannot be read, or the card of the one
            version.
    """
    if _is_version_itself(models):
        stored = read_version(models)
        return {name or stored.name: [stored.version]}
    found: dict[str, list[int]] = {}
    for entry in sorted(_entries(models)):
        if entry.startswith(".") or entry == "lost+found":
            continue
        try:
            if numbers := _versions(models / entry):
                found[entry] = sorted(numbers)
        except ModelRefusedError:  # which loading it raises again
            found[entry] = []
    return found


def versions(models: Path) -> list[Path]:
    """Lists the folders of all versions, by name of the model and number of the version.

    Raises:
        ModelNotFoundError: there is none.
        ModelRefusedError: a folder cannot be read.
    """
    found = available(models)
    check_filled(models, found)
    return [
        folder_of(models, name, number)
        for name, numbers in found.items()
        for number in numbers or _versions(models / name)
    ]


def check_filled(models: Path, found: Mapping[str, object]) -> None:
    """Checks that `available` has found something.

    Raises:
        ModelNotFoundError: there are no models, or there is no such folder.
    """
    if not found:
        raise ModelNotFoundError(f"There are no models in {_describe_empty(models)}.")


def folder_of(models: Path, name: str, version: int | str) -> Path:
    """The folder of a version of a model, whether or not it is there."""
    return models if _is_version_itself(models) else models / name / str(version)


def read_version(folder: Path) -> StoredModel:
    """Reads the card of one version, whose folders give it its name and number.

    In a folder that is no number it has those that it was published under.

    Raises:
        ModelRefusedError: it cannot be read, or is not a card.
    """
    path = folder / CARD_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelRefusedError(f"{path} cannot be read: {error.strerror}.") from error
    card = parse_card(data, path)
    if _is_version(folder):
        return StoredModel(folder, folder.parent.name, int(folder.name), card, data)
    return StoredModel(folder, card.name, card.version, card, data)


def load(models: Path, name: str, version: int | None = None) -> StoredModel:
    """Finds one version of a model, by default the highest, and reads its card.

    The one version of a repository has any name by which it is asked for.

    Raises:
        ModelNotFoundError: there is no such model or version.
        ModelRefusedError: the folder or the card cannot be read.
    """
    if not _is_version_itself(models):
        numbers = _versions(models / name)
        return read_version(models / name / str(_choose_version(models, name, numbers, version)))
    stored = read_version(models)
    _choose_version(models, name, [stored.version], version)
    return replace(stored, name=name)


def files(model: StoredModel) -> list[str]:
    """The files that a version has: those that its card lists, or the one that is there alone.

    An installed package brings one file of its model.
    """
    listed = list(model.card.files)
    present = [name for name in listed if (model.folder / name).exists()]
    return present if len(present) == 1 else listed


def choose(model: StoredModel, variant: str, precision: str) -> str:
    """Chooses the file of a model to serve: the named one, or for `auto` one of this precision.

    `auto` takes `model.onnx` where the card does not show that the other keeps the accuracy, and
    the only file where there is one alone.

    Raises:
        ModelNotFoundError: the card lists no such file.
    """
    listed = model.card.files
    if variant == "auto":
        if len(present := files(model)) == 1:
            return present[0]
        for name, file in listed.items():
            if file.precision == precision and model.card.keeps_accuracy(name):
                return name
        return MODEL_FILE
    if variant not in listed:
        known = ", ".join(listed)
        raise ModelNotFoundError(f"{model.folder} has no {variant!r}; these are there: {known}.")
    return variant


def size(model: StoredModel, name: str) -> int:
    """The size of one file of a model in bytes.

    Raises:
        ModelRefusedError: it cannot be read.
    """
    path = model.folder / name
    try:
        return path.stat().st_size
    except OSError as error:
        raise ModelRefusedError(f"{path} cannot be read: {error.strerror}.") from error


def _choose_version(models: Path, name: str, found: list[int], version: int | None) -> int:
    if not found:
        others = available(models)
        if not others:
            text = f"There is no model {name!r}: there are none in {_describe_empty(models)}."
            raise ModelNotFoundError(text)
        raise ModelNotFoundError(
            f"There is no model {name!r} in {models.absolute()}; publish it there, or choose one "
            f"by CIFAR10_MODEL: {', '.join(map(repr, others))}."
        )
    chosen = max(found) if version is None else version
    if chosen not in found:
        known = ", ".join(map(str, sorted(found)))
        raise ModelNotFoundError(
            f"Model {name!r} has no version {chosen}; these are there: {known}."
        )
    return chosen


def _is_version_itself(models: Path) -> bool:
    with contextlib.suppress(OSError):  # the caller that lists the folder reports it
        return (models / CARD_FILE).is_file()
    return False


def _describe_empty(models: Path) -> str:
    """A folder without models, and what to do."""
    missing = "" if models.is_dir() else ", which is no folder"
    return (
        f"{models.absolute()}{missing}; publish one there, as <name>/<version>/ with its "
        "card.json, or point CIFAR10_MODELS at a folder of models"
    )


def _versions(folder: Path) -> list[int]:
    try:
        return [int(name) for name in _entries(folder) if _is_version(folder / name)]
    except OSError as error:
        raise ModelRefusedError(f"{folder} cannot be read: {error.strerror}.") from error


def _entries(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ModelRefusedError(f"{folder} cannot be read: {error.strerror}.") from error


def _is_version(folder: Path) -> bool:
    name = folder.name
    return name.isascii() and name.isdigit() and name[0] != "0" and folder.is_dir()
