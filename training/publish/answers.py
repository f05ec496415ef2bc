"""The figures of what the files of a model answer, for its card and for checks of that card."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from training.data.dataset import Split
from training.measure import metrics, photographs
from training.measure.photographs import PhotographFigures, Photographs
from training.measure.predict import Predictions, predict
from training.publish import served
from training.publish.card import ExportedCard

Answers = Mapping[str, Mapping[str, Predictions]]


def collect(folder: Path, files: Iterable[str], splits: Mapping[str, Split]) -> Answers:
    """What files of a folder answer to one view of each picture, by file and split."""
    return {
        file: {name: predict(folder / file, split.images) for name, split in splits.items()}
        for file in files
    }


def figures(
    folder: Path, card: ExportedCard, answers: Answers, splits: Mapping[str, Split]
) -> dict[str, Any]:
    """The card's `metrics`, `as_served` and `label_sets`.

    Args:
        folder: that holds the files.
        card: of the files; it has their thresholds.
        answers: of `collect`.
        splits: the labelled pictures.
    """
    return {
        "metrics": {
            file: {
                name: metrics.metrics(own, splits[name].labels, card.files[file].energy_threshold)
                for name, own in of_file.items()
            }
            for file, of_file in answers.items()
        },
        **served.figures(folder, card, answers, splits)._asdict(),
    }


def reliability(
    answers: Answers, splits: Mapping[str, Split]
) -> dict[str, dict[str, list[metrics.Bin]]]:
    """The card's `reliability`: of each file, on the last split."""
    shown = list(splits)[-1]
    return {
        file: {shown: metrics.reliability(own[shown].probabilities, splits[shown].labels)}
        for file, own in answers.items()
    }


def on_photographs(
    folder: Path, card: ExportedCard, seen: Photographs
) -> dict[str, PhotographFigures]:
    """The figures of each file on photographs of the classes and of other things."""
    return {
        name: photographs.measure(
            folder / name, seen, card.labels, file.energy_threshold, file.second_view
        )
        for name, file in card.files.items()
    }
