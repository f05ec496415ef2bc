"""The plots of the pages; each function returns a figure."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.metrics import ConfusionMatrixDisplay

from training.data.dataset import DataSet, Split
from training.measure.metrics import CALIBRATION_BINS, Bin
from training.measure.robustness import StrengthAccuracy

SAMPLES_PER_CLASS = 8
_COLUMNS = 6
_STYLE: dict[Any, Any] = {
    "axes.spines.right": False, "axes.spines.top": False, "figure.constrained_layout.use": True,
    "figure.dpi": 110, "font.size": 9, "savefig.transparent": False,
}  # fmt: skip

Indices = npt.NDArray[np.intp]


@contextmanager
def style() -> Iterator[None]:
    """The style of the plots of a report."""
    with mpl.rc_context(_STYLE):
        yield


def samples(data: DataSet) -> Figure:
    """A row of training pictures for each class."""
    classes = data.classes[:20]  # further rows would make the page too long
    figure, axis = plt.subplots(figsize=(7.5, 0.8 * len(classes)))
    for row, name in enumerate(classes):
        chosen = np.flatnonzero(data.train.labels == data.classes.index(name))[:SAMPLES_PER_CLASS]
        for column, index in enumerate(chosen):
            _show(axis, data.train.images[index], column, row)
        axis.text(-0.1, row + 0.5, name, ha="right", va="center")
    _fit(axis, columns=SAMPLES_PER_CLASS, rows=len(classes))
    return figure


def _show(axis: Axes, image: npt.NDArray[np.uint8], left: float, top: float) -> None:
    """Draws a picture into a square of one unit; an axis for each picture would take seconds."""
    axis.imshow(image, extent=(left, left + 0.93, top + 0.93, top))


def _fit(axis: Axes, *, columns: float, rows: float) -> None:
    """Shows what has been drawn from the origin to here, and nothing else."""
    axis.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal")
    axis.set_axis_off()


def balance(data: DataSet) -> Figure:
    """Number of training and validation pictures of each class."""
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


def curves(histories: dict[int, pd.DataFrame]) -> Figure:
    """Loss and accuracy after each epoch, a line for each seed."""
    figure, axes = plt.subplots(1, 2, figsize=(7.5, 3))
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        for column, colour in ((name, "C0"), (f"val_{name}", "C1")):
            for history in histories.values():
                known = history.dropna(subset=[column])  # not all epochs are measured
                axis.plot(known["epoch"], known[column], color=colour, linewidth=1)
        axis.set(xlabel="epoch", ylabel=name)
    axes[1].plot([], [], color="C0", label="train (as changed for training)")
    axes[1].plot([], [], color="C1", label="validation")
    axes[1].legend(frameon=False)
    return figure


def confusion(matrix: list[list[int]], classes: tuple[str, ...]) -> Figure:
    """The share of each answer among the pictures of each true class."""
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


def reliability(before: list[Bin], after: list[Bin]) -> Figure:
    """Accuracy against confidence and pictures in each bin, before and after calibration."""
    figure, axes = plt.subplots(
        2, 2, figsize=(7.5, 4.6), sharex=True, sharey="row", height_ratios=(3, 1)
    )
    titles = ("before calibration", "after")
    for (top, bottom), title, bins in zip(axes.T, titles, (before, after), strict=True):
        table = pd.DataFrame([dict(one) for one in bins])
        top.plot([0, 1], [0, 1], color="grey", linestyle="--", label="perfect")
        top.plot(table["confidence"], table["accuracy"], marker="o", label="measured")
        top.set(xlim=(0, 1), ylim=(0, 1))
        top.set_title(title)
        bottom.bar((table["bin"] + 0.5) / CALIBRATION_BINS, table["pictures"], width=0.05)
        bottom.set(xlabel="confidence")
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("pictures")
    axes[0, 0].legend(frameon=False)
    return figure


def robustness(rows: list[StrengthAccuracy]) -> Figure:
    """Accuracy against the strength of each change, and against the quality of a JPEG."""
    table = pd.DataFrame([dict(row) for row in rows])
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3), sharey=True, width_ratios=(2, 1))
    for change, group in table.groupby("change", sort=False):
        unchanged = group["unchanged"].iloc[0]
        if change == "jpeg":
            right.plot([100, *group["strength"]], [unchanged, *group["accuracy"]], ".-")
        else:
            label = str(change).replace("_", " ")
            left.plot([0, *group["strength"]], [unchanged, *group["accuracy"]], ".-", label=label)
    left.set(xlabel="strength (0: unchanged)", ylabel="accuracy", ylim=(0, 1))
    right.set(xlabel="JPEG quality (100: unchanged)")
    right.invert_xaxis()
    left.yaxis.set_major_formatter(PercentFormatter(1))
    left.legend(frameon=False)
    return figure


def energies(
    familiar: npt.NDArray[np.float32],
    unfamiliar: dict[str, npt.NDArray[np.float32]],
    threshold: float,
) -> Figure:
    """Histograms of the energies of a split and of each kind of out-of-distribution pictures."""
    rows = -(-len(unfamiliar) // 2)
    every = np.concatenate([familiar, *unfamiliar.values()])
    low, high = (float(np.percentile(every, share)) for share in (0.2, 99.8))
    edges = np.linspace(low, high, 41)
    figure, axes = plt.subplots(
        rows, 2, figsize=(7.5, 1.15 * rows + 0.6), sharex=True, sharey=True, squeeze=False
    )
    for axis in axes.flat[len(unfamiliar) :]:
        axis.set_axis_off()
    for axis, (kind, values) in zip(axes.flat, unfamiliar.items(), strict=False):
        axis.stairs(_profile(familiar, edges), edges, fill=True, color="0.8", label="familiar")
        axis.stairs(_profile(values, edges), edges, color="C1", label="out-of-distribution")
        axis.axvline(threshold, color="C0", linestyle="--", linewidth=1, label="threshold")
        axis.set_title(kind.replace("_", " "))
        axis.set_yticks([])
    for axis in axes.flat[: len(unfamiliar)][-2:]:  # the lowest of each column
        axis.set_xlabel("energy")
        axis.tick_params(labelbottom=True)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, frameon=False)
    return figure


def _profile(
    values: npt.NDArray[np.float32], edges: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """A histogram scaled to a maximum of 1."""
    counts, _ = np.histogram(values, edges)
    return np.asarray(counts / max(1, counts.max()))


def gallery(split: Split, chosen: Indices, titles: list[str]) -> Figure:
    """Pictures of a split, each with a title."""
    rows = max(1, -(-len(chosen) // _COLUMNS))
    # Of a row, in units of a picture.
    height = 1.15 + 0.13 * (1 + max((title.count("\n") for title in titles), default=0))
    figure, axis = plt.subplots(figsize=(7.5, 7.5 / _COLUMNS * height * rows))
    for place, (index, title) in enumerate(zip(chosen, titles, strict=True)):
        row, column = divmod(place, _COLUMNS)
        bottom = (row + 1) * height
        _show(axis, split.images[index], column, bottom - 1)
        axis.text(column + 0.465, bottom - 1.05, title, ha="center", va="bottom", fontsize=7)
    _fit(axis, columns=_COLUMNS, rows=rows * height)
    return figure


def accuracy_against_time(figures: pd.DataFrame, latency: pd.DataFrame, ylabel: str) -> Figure:
    """Accuracy with its interval against the time of a picture, an axis for each batch size.

    Args:
        figures: a row for each model: `accuracy`, and `low` and `high` of its interval.
        latency: a row for each model and batch size: `label` (index of `figures`), `batch` and
            `median`, in microseconds a picture.
        ylabel: text beside the accuracies.
    """
    batches = latency["batch"].unique()
    figure, axes = plt.subplots(
        1, len(batches), figsize=(9, 3.6), sharey=True, layout="constrained", squeeze=False
    )
    for axis, batch in zip(axes[0], batches, strict=True):
        rows = latency[latency["batch"] == batch]
        for label, time in zip(rows["label"], rows["median"], strict=True):
            row = figures.loc[label]
            interval = [[row["accuracy"] - row["low"]], [row["high"] - row["accuracy"]]]
            axis.errorbar(time, row["accuracy"], interval, marker="o", capsize=3, label=label)
        axis.set_xlim(left=0)
        axis.set_xlabel(f"µs a picture, batch {batch}, one core")
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.yaxis.set_major_formatter(PercentFormatter(1))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel(ylabel)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", frameon=False,
                  ncols=2)  # fmt: skip
    return figure
