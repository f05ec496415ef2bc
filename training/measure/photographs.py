"""How a model does on real photographs: of its classes, and of other things."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.errors import TrainingError
from training.figures import Figures
from training.files import is_litter
from training.measure import closer_look, intervals
from training.measure.closer_look import CloserLook, Uploads
from training.measure.intervals import Estimate
from training.measure.second_view import SecondView
from training.presets import ResizeRule

CONFIDENT = 0.9


@dataclass(frozen=True)
class Photographs:
    """Photographs at the size of a network.

    Attributes:
        familiar: of its classes.
        labels: the classes of those, int64 (N,).
        other: of other things.
    """

    familiar: Uploads
    labels: npt.NDArray[np.int64]
    other: Uploads


class PhotographFigures(Figures):
    """Figures of one file on photographs, each with its interval; as served, with further views.

    Attributes:
        accuracy: on photographs of the classes.
        mean_over_classes: mean accuracy of the classes that have photographs.
        per_class: accuracy of each of these classes.
        familiar_called_unfamiliar: share of the photographs of the classes.
        other_called_unfamiliar: share of the photographs of other things.
        other_confident: share of the photographs of other things that are not called unfamiliar
            and get a class with a probability over 0.9.
        auroc: how probably a photograph of the classes has more energy than one of other things.
    """

    accuracy: Estimate
    mean_over_classes: Estimate
    per_class: dict[str, Estimate]
    familiar_called_unfamiliar: Estimate
    other_called_unfamiliar: Estimate
    other_confident: Estimate
    auroc: Estimate

    def rows(self) -> dict[str, str]:
        """The figures with their intervals as text, by what they are of."""
        known, other = self.accuracy.pictures, self.other_confident.pictures
        return {
            f"{known} of the classes: right": self.accuracy.text(),
            "the same, mean over classes": self.mean_over_classes.text(),
            "the same, called unfamiliar": self.familiar_called_unfamiliar.text(),
            f"{other} of other things: called unfamiliar": self.other_called_unfamiliar.text(),
            "the same, not called so and over 90 % sure": self.other_confident.text(),
            "AUROC of the energy, the ones against the others": self.auroc.text(".3f"),
            **{f"{one.pictures} of {name}: right": one.text()
               for name, one in self.per_class.items()},
        }  # fmt: skip


def load(
    familiar: Path,
    other: Path,
    classes: tuple[str, ...],
    size: int,
    rule: ResizeRule,
    look: CloserLook | None = None,
) -> Photographs:
    """Read photographs of any size.

    Args:
        familiar: a folder with a folder for each class that has photographs.
        other: a folder of photographs of other things, at any depth; it may lie in `familiar`.
        classes: the class names.
        size: height and width that they are brought to.
        rule: how they are brought to it.
        look: which of them have a closer look; None for none.

    Raises:
        TrainingError: a folder is missing or empty or is not named after a class, or a file is no
            picture.
    """
    for folder in (familiar, other):
        if not folder.is_dir():
            raise TrainingError(f"{folder}: no such folder")
    files, labels = [], []
    for folder in sorted(familiar.iterdir()):
        if is_litter(folder, familiar) or not folder.is_dir() or folder.samefile(other):
            continue
        if folder.name not in classes:
            raise TrainingError(f"{folder}: {folder.name!r} is no class of the model")
        found = _files(folder)
        files += found
        labels += [classes.index(folder.name)] * len(found)
    others = _files(other)
    for folder, found in ((familiar, files), (other, others)):
        if not found:
            raise TrainingError(f"{folder}: the folder holds no photographs")
    return Photographs(
        closer_look.read(files, size, rule, look),
        np.array(labels, np.int64),
        closer_look.read(others, size, rule, look),
    )


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and not is_litter(p, folder))


def measure(
    model: Path,
    photographs: Photographs,
    classes: tuple[str, ...],
    threshold: float,
    rule: SecondView | None = None,
) -> PhotographFigures:
    """Measure a file, as it is served.

    Args:
        model: the ONNX file.
        photographs: of its input size, read by its rule of closer looks.
        classes: the class names.
        threshold: pictures with less energy are called unfamiliar.
        rule: which of the photographs without a closer look have a second view; None for none.
    """
    labels = photographs.labels
    familiar, other = (
        closer_look.as_served(rule, model, uploads)
        for uploads in (photographs.familiar, photographs.other)
    )
    right = familiar.probabilities.argmax(axis=1) == labels
    passed = other.energy >= threshold
    return PhotographFigures(
        accuracy=intervals.share(right),
        mean_over_classes=intervals.mean_over_classes(right, labels),
        per_class={
            name: intervals.share(right[labels == number])
            for number, name in enumerate(classes)
            if number in labels
        },
        familiar_called_unfamiliar=intervals.share(familiar.energy < threshold),
        other_called_unfamiliar=intervals.share(~passed),
        other_confident=intervals.share(passed & (other.probabilities.max(axis=1) > CONFIDENT)),
        auroc=intervals.area(familiar.energy, other.energy),
    )
