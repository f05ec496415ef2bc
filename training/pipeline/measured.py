"""The figures of a card, of what the exported files answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.data.dataset import Split
from training.measure import evaluation, latency, robustness, unfamiliar
from training.measure.evaluation import Evaluation
from training.measure.photographs import PhotographFigures, Photographs
from training.measure.predict import Predictions
from training.measure.second_view import ServedMetrics
from training.publish import answers as of_files
from training.publish import seeds
from training.publish.answers import Answers
from training.publish.artifact import Artifact
from training.publish.card import Card, ExportedCard, Readings


@dataclass(frozen=True)
class Measured:
    """What the files of a run answer.

    Attributes:
        splits: the labelled pictures; the last one is shown in detail.
        answers: of one view of each picture, by file and split.
        figures: of these answers, by field of the card.
        evaluations: of `model.onnx`, by split.
        energies: of `model.onnx` for each kind of out-of-distribution pictures.
        photographs: the figures of each file on them; None where there are none.
    """

    splits: Mapping[str, Split]
    answers: Answers
    figures: dict[str, Any]
    evaluations: dict[str, Evaluation]
    energies: dict[str, unfamiliar.Energies]
    photographs: dict[str, PhotographFigures] | None


def measure(
    artifact: Artifact,
    card: ExportedCard,
    splits: Mapping[str, Split],
    seen: Photographs | None,
) -> Measured:
    """Run all files of an exported model over the splits, and over photographs."""
    answers = of_files.collect(artifact.folder, card.files, splits)
    figures = of_files.figures(artifact.folder, card, answers, splits)
    as_served = (figures["as_served"] or {}).get(artifact.model.name, {})
    return Measured(
        splits=splits,
        answers=answers,
        figures=figures,
        evaluations=_evaluations(artifact, card, splits, answers[artifact.model.name], as_served),
        energies=unfamiliar.energies(artifact.model, card.input.height, card.resize),
        photographs=None if seen is None else of_files.on_photographs(artifact.folder, card, seen),
    )


def _evaluations(
    artifact: Artifact,
    card: ExportedCard,
    splits: Mapping[str, Split],
    answers: Mapping[str, Predictions],
    as_served: Mapping[str, ServedMetrics],
) -> dict[str, Evaluation]:
    return {
        name: evaluation.evaluate(
            artifact.model,
            split,
            card.labels,
            card.energy_threshold,
            predictions=answers[name],
            uncalibrated=card.calibration.undo(answers[name].probabilities),
        ).model_copy(update={"as_served": as_served.get(name)})
        for name, split in splits.items()
    }


def complete(
    artifact: Artifact,
    card: ExportedCard,
    measured: Measured,
    readings: Readings | None,
    others: Sequence[Card],
) -> Card:
    """The card with all figures.

    Args:
        artifact: the exported files.
        card: of them.
        measured: their answers.
        readings: of the test split.
        others: the cards of the other seeds, for the spread.
    """
    familiar = {name: own.energy for name, own in measured.answers[artifact.model.name].items()}
    timed = [name for name, file in card.files.items() if file.precision != "float16"]
    figures = {
        "data": card.data.model_copy(update={"test": len(measured.splits.get("test", ()))}),
        "reliability": of_files.reliability(measured.answers, measured.splits),
        "robustness": {
            name: robustness.means(own.robustness) for name, own in measured.evaluations.items()
        },
        "unfamiliar": unfamiliar.figures(familiar, measured.energies, card.energy_threshold),
        "latency": latency.figures([artifact.folder / name for name in timed]),
        "photographs": measured.photographs,
        "test_readings": readings,
        **measured.figures,
    }
    own = Card(**dict(card) | figures)
    return own.model_copy(update=seeds.spreads([own, *others])._asdict())
