"""The report of a run: data, network, learning curves, figures and errors on one page."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from training.data.dataset import DataSet, Split
from training.measure import unfamiliar
from training.measure.evaluation import Evaluation
from training.measure.metrics import expected_calibration_error
from training.measure.predict import Predictions
from training.measure.robustness import StrengthAccuracy
from training.pages import html, plots
from training.publish.card import Card

ERRORS = 24
DISAGREEMENTS = 12  # in each group


@dataclass(frozen=True)
class Published:
    """A published version that the run is compared with.

    Attributes:
        name: with its version.
        predictions: on the split that is shown.
    """

    name: str
    predictions: Predictions


@dataclass(frozen=True)
class Report:
    """The contents of the page.

    Attributes:
        card: of the exported files.
        evaluations: of each split; the page shows the last one in detail.
        data: training and validation splits.
        shown: the split of the last evaluation.
        predictions: of `model.onnx` on `shown`.
        unfamiliar: the energies of each kind of out-of-distribution pictures.
        published: the version published before; None if there is none to compare with.
        model: the Keras network.
        histories: of each seed of the preset.
        ablation: the table of `ablate`; None if it was not run.
    """

    card: Card
    evaluations: dict[str, Evaluation]
    data: DataSet
    shown: Split
    predictions: Predictions
    unfamiliar: dict[str, npt.NDArray[np.float32]]
    published: Published | None
    model: keras.Model
    histories: dict[int, pd.DataFrame]
    ablation: pd.DataFrame | None


class Change(NamedTuple):
    """A row of the table of changed pictures; `accuracy` at each strength."""

    change: str
    pictures: int
    unchanged: float
    accuracy: list[float]
    mean: float


class Kind(NamedTuple):
    """A row of the table of out-of-distribution pictures, with intervals."""

    kind: str
    pictures: int
    sources: int
    auroc: list[str]
    called_unfamiliar: str


class Disagreement(NamedTuple):
    """Pictures on which two versions differ: a heading, their number and some of them."""

    heading: str
    pictures: int
    plot: str | None


class Layer(NamedTuple):
    """A row of the table of layers."""

    name: str
    kind: str
    shape: str
    parameters: int


def write(report: Report, path: Path) -> None:
    """Write the page; it needs no other file and no network."""
    split, evaluation = list(report.evaluations.items())[-1]
    with plots.style():
        page = html.render(
            "report.html",
            card=report.card,
            split=split,
            evaluations=report.evaluations,
            plots=_plots(report, evaluation),
            disagreements=_disagreements(report),
            published=report.published,
            kinds=_kinds(report),
            seeds=sorted(report.histories),
            sharp_from=_first_sharp_epoch(report.card),
            error_before=expected_calibration_error(evaluation.reliability_before),
            layers=_layers(report.model),
            parameters=report.model.count_params(),
            encodings=[row for row in evaluation.robustness if row.change == "jpeg"],
            changes=_changes([row for row in evaluation.robustness if row.change != "jpeg"]),
            per_class=_table(
                pd.DataFrame(
                    {name: dict(row) for name, row in evaluation.per_class.items()}
                ).T.astype({"pictures": int})
            ),
            ablation=None if report.ablation is None else _table(report.ablation),
        )
    path.write_text(page)


def _first_sharp_epoch(card: Card) -> int | None:
    """The first trained epoch with sharpness-aware steps, counted from 1."""
    radius = card.training.config.sharpness_radius_in
    return next((n + 1 for n in range(card.training.epochs) if radius(n) > 0), None)


def _plots(report: Report, evaluation: Evaluation) -> dict[str, str]:
    classes = report.data.classes
    energies = plots.energies(
        report.predictions.energy, report.unfamiliar, report.card.energy_threshold
    )
    return {
        "samples": html.png(plots.samples(report.data)),
        "balance": html.png(plots.balance(report.data)),
        "curves": html.png(plots.curves(report.histories)),
        "confusion": html.png(plots.confusion(evaluation.confusion_matrix, classes)),
        "reliability": html.png(
            plots.reliability(evaluation.reliability_before, evaluation.reliability)
        ),
        "robustness": html.png(plots.robustness(evaluation.robustness)),
        "energies": html.png(energies),
        "errors": html.png(_errors(report.shown, report.predictions, classes)),
    }


def _errors(split: Split, predictions: Predictions, classes: tuple[str, ...]) -> Figure:
    said, confidence = _answers(predictions)
    wrong = np.flatnonzero(said != split.labels)
    worst = wrong[np.argsort(-confidence[wrong])][:ERRORS]
    titles = [
        f"{classes[said[index]]} {confidence[index]:.0%}\nis: {classes[split.labels[index]]}"
        for index in worst
    ]
    return plots.gallery(split, worst, titles)


def _disagreements(report: Report) -> list[Disagreement]:
    """Pictures on which this version and the published one differ, by which of them is right."""
    if report.published is None:
        return []
    split, classes = report.shown, report.data.classes
    said, confidence = _answers(report.predictions)
    other_said, other_confidence = _answers(report.published.predictions)
    confidence = confidence + other_confidence
    right, other_right = said == split.labels, other_said == split.labels
    own = f"{report.card.name} {report.card.version}"
    groups = {
        f"Only {own} is right": right & ~other_right,
        f"Only {report.published.name} is right": other_right & ~right,
        "Both are wrong, with different answers": ~right & ~other_right & (said != other_said),
    }
    found = []
    for heading, chosen in groups.items():
        pictures = np.flatnonzero(chosen)
        shown = pictures[np.argsort(-confidence[pictures])][:DISAGREEMENTS]
        titles = [
            f"{own}: {classes[said[index]]}\n{report.published.name}: {classes[other_said[index]]}"
            f"\nis: {classes[split.labels[index]]}"
            for index in shown
        ]
        plot = html.png(plots.gallery(split, shown, titles)) if titles else None
        found.append(Disagreement(heading, len(pictures), plot))
    return found


def _answers(
    predictions: Predictions,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    probabilities = predictions.probabilities
    return probabilities.argmax(axis=1), probabilities.max(axis=1)


def _changes(rows: list[StrengthAccuracy]) -> list[Change]:
    table = pd.DataFrame([dict(row) for row in rows])
    return [
        Change(
            change=str(change),
            pictures=int(group["pictures"].iloc[0]),
            unchanged=float(group["unchanged"].iloc[0]),
            accuracy=group["accuracy"].tolist(),
            mean=float(group["accuracy"].mean()),
        )
        for change, group in table.groupby("change", sort=False)
    ]


def _kinds(report: Report) -> list[Kind]:
    """The rows of all kinds, photographs first."""
    familiar = min(one.pictures for one in report.evaluations.values())
    rows = []
    for kind, figures in report.card.unfamiliar.per_kind.items():
        share, areas = unfamiliar.estimates(kind, figures, familiar)
        texts = [area.text(".3f") for area in areas]
        rows.append(Kind(kind, figures.pictures, share.pictures, texts, share.text()))
    return sorted(rows, key=lambda row: row.kind != "photographs")


def _table(table: pd.DataFrame) -> str:
    return table.to_html(float_format="{:.3f}".format, border=0, index_names=False)


def _layers(model: keras.Model) -> list[Layer]:
    return [
        Layer(
            name=layer.name,
            kind=type(layer).__name__,
            shape=" x ".join(str(size) for size in layer.output.shape[1:]),
            parameters=layer.count_params(),
        )
        for layer in model.layers
    ]
