"""The figures of the answers as the service gives them: with second views, and label sets."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from training.data.dataset import Split
from training.measure import label_sets
from training.measure.label_sets import SetFigures
from training.measure.predict import Predictions
from training.measure.second_view import ServedMetrics, as_served, served_metrics
from training.publish.card import ExportedCard


class ServedFigures(NamedTuple):
    """The card's figures of the same names; None where no file has any."""

    as_served: dict[str, dict[str, ServedMetrics]] | None
    label_sets: dict[str, dict[str, dict[float, SetFigures]]] | None


def figures(
    folder: Path,
    card: ExportedCard,
    answers: Mapping[str, Mapping[str, Predictions]],
    splits: Mapping[str, Split],
) -> ServedFigures:
    """Measure the files that have second views or label sets.

    Label sets are measured on the test split alone: their thresholds were fitted on validation.

    Args:
        folder: that holds the files.
        card: of the files.
        answers: one view of each picture, by file and split.
        splits: the labelled pictures, by name.
    """
    served: dict[str, dict[str, ServedMetrics]] = {}
    sets: dict[str, dict[str, dict[float, SetFigures]]] = {}
    for name, of_split in answers.items():
        file = card.files[name]
        rule = file.second_view
        for split, first in of_split.items():
            images, labels = splits[split].images, splits[split].labels
            own = as_served(rule, folder / name, images, first)
            if rule is not None:
                served.setdefault(name, {})[split] = served_metrics(
                    rule, first, own, labels, file.energy_threshold
                )
            if file.label_sets is not None and split == "test":
                sets.setdefault(name, {})[split] = label_sets.measure_all(
                    file.label_sets, own.probabilities, first.probabilities, labels, card.labels
                )
    return ServedFigures(served or None, sets or None)
