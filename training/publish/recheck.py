"""Checks published versions against their cards: their bytes, and every figure measured again."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from training.data import dataset
from training.data.dataset import Split
from training.errors import TrainingError
from training.measure import agreement, photographs, robustness, unfamiliar
from training.measure.cost import cost
from training.publish import answers as of_files
from training.publish import differences, repository, stated, unmeasured
from training.publish.artifact import Artifact
from training.publish.card import Card

Folders = tuple[Path, Path]


def recheck(
    models: Path, folder: Path | None, *, seen: Folders | None = None, thorough: bool = True
) -> list[str]:
    """Measure the figures of every version again; all must come from the data in a folder.

    Every figure that an evaluation makes must be in the card. A line says which figures are not
    measured again, and why.

    Args:
        models: the model repository.
        folder: the data; None for the download of Keras.
        seen: folders of photographs of the classes and of other things, for the cards with figures
            of them.
        thorough: if false, only the files for processors on unchanged test pictures.

    Returns:
        One line for each file and split, and lines on all other figures.

    Raises:
        TrainingError: there is no version, a file is not the one that was published or not what its
            card says, or a figure is missing or differs.
    """
    versions = [
        (name, number)
        for name in repository.names(models)
        for number in repository.versions(models, name)
    ]
    if not versions:
        raise TrainingError(f"{models}: holds no version of a model")
    for name, number in versions:
        repository.check_bytes(models, name, number)
    found = [Artifact(models / name / str(number)) for name, number in versions]
    return [line for version in found for line in _recheck(version, folder, seen, thorough)]


def _recheck(
    version: Artifact, folder: Path | None, seen: Folders | None, thorough: bool
) -> Iterator[str]:
    card = version.read_card()
    stated.check(version, card)
    _raise(version, unmeasured.faults(card))
    splits = _splits(version, card, folder)
    if thorough:
        measured = measure(version, card, splits, seen)
    else:
        measured = measure_quickly(version, card, {"test": splits["test"]})
    _raise(version, differences.between(card, measured))
    for file, of_split in measured["metrics"].items():
        for name, figures in of_split.items():
            accuracy = f"{name} accuracy {figures.accuracy:.2%}"
            yield f"{version.folder / file}: {accuracy}, as its card says"
    if thorough:
        others = ", ".join(key for key in measured if key != "metrics" and measured[key])
        yield f"{version.card}: {others}: as the card says"
        for key, reason in unmeasured.REASONS.items():
            if key not in measured and getattr(card, key) is not None:
                yield f"{version.card}: {key}: not measured again, {reason}"


def _raise(version: Artifact, faults: Iterable[str]) -> None:
    if lines := [f"{version.card}: {fault}" for fault in faults]:
        raise TrainingError("\n".join(lines))


def measure(
    version: Artifact, card: Card, splits: Mapping[str, Split], seen: Folders | None = None
) -> dict[str, Any]:
    """All figures that can be measured again, by their field of the card."""
    model = version.model
    answers = of_files.collect(version.folder, card.files, splits)
    familiar = {name: of_split.energy for name, of_split in answers[model.name].items()}
    energies = unfamiliar.energies(model, card.input.height, card.resize)
    measured = {
        **of_files.figures(version.folder, card, answers, splits),
        "reliability": of_files.reliability(answers, splits),
        "robustness": {
            name: robustness.means(robustness.measure(model, split))
            for name, split in splits.items()
        },
        "unfamiliar": unfamiliar.figures(familiar, energies, card.energy_threshold),
        "agreement": {
            path.name: agreement.agreement(model, path, splits["validation"].images)
            for path in version.variants(card)
        },
        "cost": cost(model),
    }
    if seen and card.photographs is not None:
        size, labels = card.input.height, card.labels
        loaded = photographs.load(*seen, labels, size, card.resize, card.closer_look)
        measured["photographs"] = of_files.on_photographs(version.folder, card, loaded)
    return measured


def measure_quickly(version: Artifact, card: Card, splits: Mapping[str, Split]) -> dict[str, Any]:
    """The figures of the answers to unchanged pictures, of the files for processors."""
    files = [name for name, file in card.files.items() if file.precision != "float16"]
    answers = of_files.collect(version.folder, files, splits)
    return of_files.figures(version.folder, card, answers, splits)


def _splits(version: Artifact, card: Card, folder: Path | None) -> dict[str, Split]:
    size = card.input.height
    data = dataset.load(folder, size, card.resize)
    if data.fingerprint != card.data.fingerprint:
        raise TrainingError(f"{version.card}: measured on other data than --data names")
    test = dataset.load_test(folder, size, card.resize)
    splits = {"validation": data.validation} | ({"test": test} if test else {})
    if not test and card.data.test:
        raise TrainingError(f"{version.card}: --data has no labelled test pictures")
    return splits
