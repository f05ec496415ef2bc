"""Verification of a whole version, as `cifar10-serve models verify` prints it."""

from collections.abc import Iterator
from pathlib import Path

from service.errors import ModelRefusedError, ServiceError
from service.inference.card import CARD_FILE, read_card
from service.inference.classifier import Classifier


def verify(folder: Path) -> Iterator[tuple[str, ServiceError | None]]:
    """Opens each file of one version on the CPU: its sha256, its metadata, and a self-test.

    Yields:
        The name of the file, and the error that it is refused with, None if it is not.
    """
    try:
        files = read_card(folder / CARD_FILE).files
    except ModelRefusedError as error:
        yield CARD_FILE, error
        return
    models, name, version = folder.parent.parent, folder.parent.name, int(folder.name)
    for file in files:
        try:
            Classifier.open(models, name, version, variant=file, provider="cpu")
        except ServiceError as error:
            yield file, error
        else:
            yield file, None
