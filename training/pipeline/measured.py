"""The figures of a card, of what the exported files answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.data.dataset import Split
from training.measure import evaluation, latency, metrics, photographs, robustness, unfamiliar
from training.measure.evaluation import Evaluation
from training.measure.photographs import PhotographFigures, Photographs
from training.measure.predict import Predictions, predict
from training.publish import seeds, served
from training.publish.artifact import Artifact
from training.publish.card import Card, ExportedCard, Readings
from training.publish.served import ServedFigures


@dataclass(frozen=True)
class Measured:
    """What the files of a run answer.

    Attributes:
        splits: the labelled pictures; the last one is shown in detail.
        answers: of one view of each picture, by file and split.
        served: the figures with second views, and of label sets.
        evaluations: of `model.onnx`, by split.
        energies: of `model.onnx` for each kind of out-of-distribution pictures.
        photographs: the figures of each file on them; None where there are none.
    """

    splits: Mapping[str, Split]
    answers: Mapping[str, Mapping[str, Predictions]]
    served: ServedFigures
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
    answers = {
        name: {split: predict(artifact.folder / name, of.images) for split, of in splits.items()}
        for name in card.files
    }
    further = served.figures(artifact.folder, card, answers, splits)
    return Measured(
        splits=splits,
        answers=answers,
        served=further,
        evaluations=_evaluations(artifact, card, splits, answers[artifact.model.name], further),
        energies=unfamiliar.energies(artifact.model, card.input.height, card.resize),
        photographs=None if seen is None else {
            name: photographs.measure(
                artifact.folder / name, seen, card.labels, file.energy_threshold, file.second_view
            )
            for name, file in card.files.items()
        },
    )  # fmt: skip


def _evaluations(
    artifact: Artifact,
    card: ExportedCard,
    splits: Mapping[str, Split],
    answers: Mapping[str, Predictions],
    further: ServedFigures,
) -> dict[str, Evaluation]:
    as_served = (further.as_served or {}).get(artifact.model.name, {})
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
    splits, answers = measured.splits, measured.answers
    shown = list(splits)[-1]
    familiar = {name: own.energy for name, own in answers[artifact.model.name].items()}
    timed = [name for name, file in card.files.items() if file.precision != "float16"]
    figures = {
        "data": card.data.model_copy(update={"test": len(splits.get("test", ()))}),
        "metrics": _metrics(card, measured),
        "reliability": {
            file: {shown: metrics.reliability(own[shown].probabilities, splits[shown].labels)}
            for file, own in answers.items()
        },
        "robustness": {
            name: robustness.means(own.robustness) for name, own in measured.evaluations.items()
        },
        "unfamiliar": unfamiliar.figures(familiar, measured.energies, card.energy_threshold),
        "latency": latency.figures([artifact.folder / name for name in timed]),
        "photographs": measured.photographs,
        "test_readings": readings,
        **measured.served._asdict(),
    }
    own = Card(**dict(card) | figures)
    return own.model_copy(update=seeds.spreads([own, *others])._asdict())


def _metrics(card: ExportedCard, measured: Measured) -> dict[str, dict[str, metrics.Metrics]]:
    return {
        file: {
            name: metrics.metrics(
                own, measured.splits[name].labels, card.files[file].energy_threshold
            )
            for name, own in of_file.items()
        }
        for file, of_file in measured.answers.items()
    }
