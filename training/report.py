"""One self-contained HTML page about a run: data, network, learning, answers, mistakes."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay

from training.data import DataSet, Split
from training.evaluate import Predictions

SAMPLES_PER_CLASS = 8
MISTAKES = 24
_STYLE: dict[Any, Any] = {
    "axes.spines.right": False, "axes.spines.top": False, "figure.constrained_layout.use": True,
    "figure.dpi": 110, "font.size": 9, "savefig.transparent": False,
}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What the page is made of.

    Attributes:
        card: the artifact's card, with metrics.
        evaluations: `evaluate.evaluation` for each split, the most telling one last.
        data: training and validation splits.
        shown: the split that the mistakes are taken from.
        predictions: of the exported file on `shown`.
        model: the Keras network.
        history: of the run.
        ablation: the table of `ablate`, where it was run.
    """

    card: dict[str, Any]
    evaluations: dict[str, dict[str, Any]]
    data: DataSet
    shown: Split
    predictions: Predictions
    model: keras.Model
    history: pd.DataFrame
    ablation: pd.DataFrame | None


def write(report: Report, path: Path) -> None:
    """Render the page; it needs no other file and no network."""
    split, evaluation = list(report.evaluations.items())[-1]
    classes = report.data.classes
    with mpl.rc_context(_STYLE):
        plots = {
            "samples": _png(_samples(report.data)),
            "balance": _png(_balance(report.data)),
            "curves": _png(_curves(report.history)),
            "confusion": _png(_confusion(evaluation["confusion_matrix"], classes)),
            "reliability": _png(_reliability(evaluation["reliability"])),
            "mistakes": _png(_mistakes(report.shown, report.predictions, classes)),
        }
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    page = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    html = page.get_template("report.html").render(
        card=report.card,
        split=split,
        evaluations=report.evaluations,
        plots=plots,
        layers=_layers(report.model),
        parameters=report.model.count_params(),
        per_class=_table(pd.DataFrame(evaluation["per_class"]).T.astype({"pictures": int})),
        ablation=None if report.ablation is None else _table(report.ablation),
    )
    path.write_text(html)


def _table(table: pd.DataFrame) -> str:
    return table.to_html(float_format="{:.3f}".format, border=0, index_names=False)


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _samples(data: DataSet) -> Figure:
    classes = data.classes[:20]  # more rows than a page is read for
    figure, axes = plt.subplots(
        len(classes), SAMPLES_PER_CLASS, figsize=(7.5, 0.85 * len(classes)), squeeze=False
    )
    for row, name in zip(axes, classes, strict=False):
        chosen = np.flatnonzero(data.train.labels == data.classes.index(name))[:SAMPLES_PER_CLASS]
        for axis in row:
            axis.set_axis_off()
        for axis, index in zip(row, chosen, strict=False):
            axis.imshow(data.train.images[index])
        row[0].text(-0.15, 0.5, name, ha="right", va="center", transform=row[0].transAxes)
    return figure


def _balance(data: DataSet) -> Figure:
    figure, axis = plt.subplots(figsize=(7.5, 0.28 * len(data.classes) + 0.9))
    left = np.zeros(len(data.classes))
    for name, split in (("train", data.train), ("validation", data.validation)):
        counts = np.bincount(split.labels, minlength=len(data.classes))
        axis.barh(data.classes, counts, left=left, label=name)
        left += counts
    axis.invert_yaxis()
    axis.set_xlabel("pictures")
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure


def _curves(history: pd.DataFrame) -> Figure:
    figure, (loss, accuracy) = plt.subplots(1, 2, figsize=(7.5, 3))
    for axis, name in ((loss, "loss"), (accuracy, "accuracy")):
        axis.plot(history["epoch"], history[name], label="train (augmented, with dropout)")
        axis.plot(history["epoch"], history[f"val_{name}"], label="validation")
        axis.set(xlabel="epoch", ylabel=name)
    accuracy.legend(frameon=False)
    return figure


def _confusion(matrix: list[list[int]], classes: tuple[str, ...]) -> Figure:
    side = max(4.0, 0.5 * len(classes) + 1.5)
    figure, axis = plt.subplots(figsize=(side + 0.8, side))
    counts = np.asarray(matrix)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    ConfusionMatrixDisplay(shares, display_labels=classes).plot(
        ax=axis, cmap="Blues", values_format=".2f", xticks_rotation="vertical",
        text_kw={"fontsize": 7},
    )  # fmt: skip
    axis.set(xlabel="answer", ylabel="truth")
    return figure


def _reliability(bins: list[dict[str, float]]) -> Figure:
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(4.5, 5), sharex=True, height_ratios=(3, 1))
    table = pd.DataFrame(bins)
    top.plot([0, 1], [0, 1], color="grey", linestyle="--", label="perfect")
    top.plot(table["confidence"], table["accuracy"], marker="o", label="measured")
    top.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    top.legend(frameon=False)
    bottom.bar(table["confidence"], table["pictures"], width=0.04)
    bottom.set(xlabel="confidence", ylabel="pictures")
    return figure


def _mistakes(split: Split, predictions: Predictions, classes: tuple[str, ...]) -> Figure:
    chosen = predictions.probabilities.argmax(axis=1)
    confidence = predictions.probabilities.max(axis=1)
    wrong = np.flatnonzero(chosen != split.labels)
    worst = wrong[np.argsort(-confidence[wrong])][:MISTAKES]
    rows = max(1, -(-len(worst) // 6))
    figure, axes = plt.subplots(rows, 6, figsize=(7.5, 1.6 * rows), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, index in zip(axes.flat, worst, strict=False):
        axis.imshow(split.images[index])
        said, truth = classes[chosen[index]], classes[split.labels[index]]
        axis.set_title(f"{said} {confidence[index]:.0%}\nis: {truth}", fontsize=7)
    return figure


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
