"""Measures the figures of published cards again and compares them."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from training.data import dataset
from training.errors import TrainingError
from training.figures import Figures
from training.measure import metrics, robustness, unfamiliar
from training.measure.predict import predict
from training.publish.artifact import Artifact

# Processors round differently: a figure may differ by a few pictures in 10,000.
TOLERANCE = 5e-4
# Generated pictures may differ by a grey level, which can move one of a kind over the threshold.
ONE_PICTURE = 1.1 / unfamiliar.PICTURES


def recheck(models: Path, folder: Path | None, *, thorough: bool = True) -> list[str]:
    """Measure the figures of every card again; all must come from the data in a folder.

    Args:
        models: the model repository.
        folder: the data; None for the download of Keras.
        thorough: if false, only the files for processors on unchanged test pictures.

    Returns:
        One line for each file and split.

    Raises:
        TrainingError: a file is not the one of its card, or a figure differs from the card.
    """
    cards = sorted(models.glob("*/[1-9]*/card.json"))
    return [line for path in cards for line in _recheck(Artifact(path.parent), folder, thorough)]


def _recheck(found: Artifact, folder: Path | None, thorough: bool) -> Iterator[str]:
    card = found.read_card()
    size = card.input.height
    data = dataset.load(folder, size, card.resize)
    if data.fingerprint != card.data.fingerprint:
        raise TrainingError(f"{found.card}: measured on other data than --data names")
    test = dataset.load_test(folder, size, card.resize)
    splits = {"validation": data.validation} | ({"test": test} if test else {})
    measured_on = card.metrics[found.model.name]
    if not measured_on.keys() <= splits.keys():
        raise TrainingError(f"{found.card}: --data has no labelled test pictures")
    familiar = {}
    for file, name in itertools.product(card.metrics, measured_on):
        for_cuda = card.files[file].precision == "float16"
        if not thorough and (for_cuda or name != "test"):
            continue
        answers = predict(found.folder / file, splits[name].images)
        if file == found.model.name:
            familiar[name] = answers.energy
        measured = metrics.metrics(answers, splits[name].labels, card.files[file].energy_threshold)
        stated = card.metrics[file][name]
        _compare(f"{found.folder / file}: {name}", stated, measured)
        accuracy = f"{name} accuracy {stated.accuracy:.2%}"
        yield f"{found.folder / file}: {accuracy}, as its card says"
    if thorough:
        for name in measured_on:
            changed = robustness.means(robustness.measure(found.model, splits[name]))
            for change, accuracy_on in card.robustness[name].items():
                _compare(f"{found.card}: robustness {name} {change}", accuracy_on, changed[change])
        energies = unfamiliar.energies(found.model, size, card.resize)
        figures = unfamiliar.figures(familiar, energies, card.energy_threshold)
        _compare(f"{found.card}: unfamiliar", card.unfamiliar, figures, ONE_PICTURE)


def _compare(where: str, stated: Figures, measured: Figures, within: float = TOLERANCE) -> None:
    found = dict(_numbers(measured.to_json()))
    for key, value in _numbers(stated.to_json()):
        if not abs(found[key] - value) <= within:
            raise TrainingError(f"{where} {key} is {found[key]}, the card says {value}")


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers in nested JSON objects, each with its path in words."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from ((f"{key} {inner}", number) for inner, number in _numbers(value))
        else:
            yield key, value
