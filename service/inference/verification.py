"""Checks that the files of a model match its card: sha256 and metadata."""

import hashlib
import json

from service.errors import ModelRefusedError
from service.inference.card import CARD_FILE
from service.inference.repository import StoredModel

# Metadata that a file need not have: in the card, of a file and of all files.
_OPTIONAL = {"second_view", "label_sets"}
_OPTIONAL_OF_ALL = {"closer_look"}
_REPUBLISH = "publish the model again, or restore both files from a good copy."


def read(model: StoredModel, name: str) -> bytes:
    """Reads one file of a model and verifies its sha256: load these bytes, not the file.

    Raises:
        ModelRefusedError: it cannot be read, or is not the file that the card describes.
    """
    path, card = model.folder / name, model.card
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelRefusedError(f"{path} cannot be read: {error.strerror}.") from error
    if name not in card.files:
        raise ModelRefusedError(f"{path.with_name(CARD_FILE)} does not list {name}; {_REPUBLISH}")
    if hashlib.sha256(data).hexdigest() != card.files[name].sha256:
        raise ModelRefusedError(
            f"{path} has not the sha256 that its card states: the file was changed or damaged; "
            f"{_REPUBLISH}"
        )
    return data


def check_metadata(model: StoredModel, name: str, metadata: dict[str, str]) -> None:
    """Checks that the ONNX metadata properties of one file of a model agree with the card.

    Raises:
        ModelRefusedError: a property is missing, unreadable, or not what the card states.
    """
    path, card = model.folder / name, model.card
    optional = card.files[name].model_dump(mode="json", include=_OPTIONAL)
    optional |= card.model_dump(mode="json", include=_OPTIONAL_OF_ALL)
    for key, stated in {
        "name": card.name,
        "version": card.version,
        "labels": list(card.labels),
        "resize": card.resize.model_dump(),
        "energy_threshold": card.threshold(name),
        **optional,
    }.items():
        try:
            if key in optional and key not in metadata:
                actual = None
            else:
                actual = metadata[key] if key == "name" else json.loads(metadata[key])
        except (KeyError, ValueError) as error:
            raise ModelRefusedError(
                f"{path} has no readable metadata property {key!r}; {_REPUBLISH}"
            ) from error
        if actual != stated:
            raise ModelRefusedError(
                f"{path} and its {CARD_FILE} disagree on {key!r} "
                f"({actual!r} and {stated!r}); {_REPUBLISH}"
            )
