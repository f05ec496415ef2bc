"""One self-contained HTML page about a run: data, network, learning, answers, mistakes."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import keras
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from training.data.dataset import DataSet, Split
from training.measure.metrics import Predictions, expected_calibration_error
from training.measure.unfamiliar_pictures import PHOTOGRAPHS
from training.pages import plots

MISTAKES = 24
DISAGREEMENTS = 12  # of each sort


@dataclass(frozen=True)
class Other:
    """Another version, to be compared with.

    Attributes:
        name: with its version.
        predictions: on the split that is shown.
    """

    name: str
    predictions: Predictions


@dataclass(frozen=True)
class Report:
    """What the page is made of.

    Attributes:
        card: the artifact's card, with metrics.
        evaluations: of each split, the most telling one last: `evaluate.evaluation`, the
            `reliability_before` calibration, and `robustness` as measured.
        data: training and validation splits.
        shown: the split that the mistakes are taken from.
        predictions: of the exported file on `shown`.
        others: the energies of each kind of other things.
        published: the version that came before.
        model: the Keras network.
        histories: of each seed of the preset.
        ablation: the table of `ablate`, where it was run.
    """

    card: dict[str, Any]
    evaluations: dict[str, dict[str, Any]]
    data: DataSet
    shown: Split
    predictions: Predictions
    others: dict[str, npt.NDArray[np.float32]]
    published: Other | None
    model: keras.Model
    histories: dict[int, pd.DataFrame]
    ablation: pd.DataFrame | None


def write(report: Report, path: Path) -> None:
    """Render the page; it needs no other file and no network."""
    split, evaluation = list(report.evaluations.items())[-1]
    robustness = pd.DataFrame(evaluation["robustness"])
    with plots.style():
        html = _template().render(
            card=report.card,
            split=split,
            evaluations=report.evaluations,
            plots=_plots(report, evaluation, robustness),
            disagreements=_disagreements(report),
            published=report.published,
            photographs=len(PHOTOGRAPHS),
            seeds=sorted(report.histories),
            error_before=expected_calibration_error(pd.DataFrame(evaluation["reliability_before"])),
            layers=_layers(report.model),
            parameters=report.model.count_params(),
            encodings=robustness[robustness["change"] == "jpeg"].to_dict("records"),
            changes=_changes(robustness[robustness["change"] != "jpeg"]),
            per_class=_table(pd.DataFrame(evaluation["per_class"]).T.astype({"pictures": int})),
            ablation=None if report.ablation is None else _table(report.ablation),
        )
    path.write_text(html)


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    page = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    page.filters["percent"] = lambda share, digits=2: f"{share:.{digits}%}".replace("%", " %")
    page.filters["words"] = lambda name: name.replace("_", " ")
    return page.get_template("report.html")


def _plots(report: Report, evaluation: dict[str, Any], robustness: pd.DataFrame) -> dict[str, str]:
    classes = report.data.classes
    return {
        "samples": _png(plots.samples(report.data)),
        "balance": _png(plots.balance(report.data)),
        "curves": _png(plots.curves(report.histories)),
        "confusion": _png(plots.confusion(evaluation["confusion_matrix"], classes)),
        "reliability": _png(
            plots.reliability(evaluation["reliability_before"], evaluation["reliability"])
        ),
        "robustness": _png(plots.robustness(robustness)),
        "energies": _png(
            plots.energies(
                report.predictions.energy, report.others, report.card["energy_threshold"]
            )
        ),
        "mistakes": _png(_mistakes(report.shown, report.predictions, classes)),
    }


def _mistakes(split: Split, predictions: Predictions, classes: tuple[str, ...]) -> Figure:
    said, confidence = _answers(predictions)
    wrong = np.flatnonzero(said != split.labels)
    worst = wrong[np.argsort(-confidence[wrong])][:MISTAKES]
    titles = [
        f"{classes[said[index]]} {confidence[index]:.0%}\nis: {classes[split.labels[index]]}"
        for index in worst
    ]
    return plots.gallery(split, worst, titles)


def _disagreements(report: Report) -> list[dict[str, Any]]:
    """Pictures on which this version and the published one differ, by who is right."""
    if report.published is None:
        return []
    split, classes = report.shown, report.data.classes
    said, confidence = _answers(report.predictions)
    other_said, other_confidence = _answers(report.published.predictions)
    confidence = confidence + other_confidence
    right, other_right = said == split.labels, other_said == split.labels
    own = f"{report.card['name']} {report.card['version']}"
    sorts = {
        f"Only {own} is right": right & ~other_right,
        f"Only {report.published.name} is right": other_right & ~right,
        "Both are wrong, each in its own way": ~right & ~other_right & (said != other_said),
    }
    found = []
    for heading, chosen in sorts.items():
        pictures = np.flatnonzero(chosen)
        shown = pictures[np.argsort(-confidence[pictures])][:DISAGREEMENTS]
        titles = [
            f"{own}: {classes[said[index]]}\n{report.published.name}: {classes[other_said[index]]}"
            f"\nis: {classes[split.labels[index]]}"
            for index in shown
        ]
        plot = _png(plots.gallery(split, shown, titles)) if titles else None
        found.append({"heading": heading, "pictures": len(pictures), "plot": plot})
    return found


def _answers(
    predictions: Predictions,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    probabilities = predictions.probabilities
    return probabilities.argmax(axis=1), probabilities.max(axis=1)


def _changes(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A row for each change: accuracy at each strength, and the mean."""
    return [
        {
            "change": change,
            "pictures": rows["pictures"].iloc[0],
            "unchanged": rows["unchanged"].iloc[0],
            "accuracy": rows["accuracy"].tolist(),
            "mean": rows["accuracy"].mean(),
        }
        for change, rows in table.groupby("change", sort=False)
    ]


def _table(table: pd.DataFrame) -> str:
    return table.to_html(float_format="{:.3f}".format, border=0, index_names=False)


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _layers(model: keras.Model) -> list[dict[str, Any]]:
    return [
        {
            "name": layer.name,
            "kind": type(layer).__name__,
            "shape": " x ".join(str(size) for size in layer.output.shape[1:]),
            "parameters": layer.count_params(),
        }
        for layer in model.layers
    ]
