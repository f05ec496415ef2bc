"""Exported files side by side: accuracy, calibration, cost and speed, and whether they differ."""

import base64
import io
import re
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import jinja2
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.stats import binomtest

from training import environment
from training.data import dataset
from training.data.dataset import Split
from training.errors import TrainingError
from training.measure import cost, latency, metrics
from training.presets import ResizeRule
from training.publish import repository
from training.publish.repository import Artifact

CONFIDENCE = 0.95
SIGNIFICANT = 0.05
BATCHES = (1, 32)


@dataclass(frozen=True)
class Contender:
    """One exported file.

    Attributes:
        label: what it is called in tables.
        model: the ONNX file.
        card: of its folder.
    """

    label: str
    model: Path
    card: dict[str, Any]

    @property
    def size(self) -> int:
        """Height and width of its input in pixels."""
        size: int = self.card["input"]["height"]
        return size

    @property
    def rule(self) -> ResizeRule:
        """How pictures of other sizes become its input."""
        return ResizeRule(**self.card["resize"])


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    Attributes:
        split: `test`, or `validation` where there are no labelled test pictures.
        pictures: in the split.
        figures: one row for each contender: `accuracy` with its interval `low` to `high`,
            `log_loss`, `calibration_error`, `flops`, `parameters`, `bytes`.
        latency: of `latency.measure`, in microseconds a picture, with the column `label`.
        per_class: accuracy of each class, one column for each contender.
        pairs: McNemar's test between any two, in words.
    """

    split: str
    pictures: int
    figures: pd.DataFrame
    latency: pd.DataFrame
    per_class: pd.DataFrame
    pairs: list[str]


def find(what: str, models: Path) -> Contender:
    """The file that a version of `cifar10`, a folder (also of a run) or a path names.

    Raises:
        TrainingError: there is no such file, or it is not the one that its card describes.
    """
    label = f"cifar10/{what}" if what.isdecimal() else what
    path = models / label if what.isdecimal() else Path(what)
    if (path / "artifact").is_dir():
        path = repository.of_run(path).folder
    found = Artifact(path.parent if path.is_file() else path)
    model = path if path.is_file() else found.model
    card = found.read_card()
    if model.name not in card["files"]:
        raise TrainingError(f"{model}: not among the files of {found.card}")
    return Contender(label, model, card)


def compare(contenders: list[Contender], folder: Path | None) -> Comparison:
    """Measure every contender on the test split, else on the validation split.

    Raises:
        TrainingError: they cannot be compared: other labels, other input size, other data.
    """
    first = contenders[0]
    for other in contenders[1:]:
        for what in ("labels", "input"):
            if other.card[what] != first.card[what]:
                raise TrainingError(f"{other.label}: other {what} than {first.label}")
    name, splits = _splits(contenders, folder)
    labels = splits[first.rule].labels
    correct, rows, recalls = {}, {}, {}
    for one in contenders:
        answer = metrics.predict(one.model, splits[one.rule].images)
        probabilities = answer.probabilities
        correct[one.label] = probabilities.argmax(axis=1) == labels
        figures = metrics.metrics(answer, labels, one.card["energy_threshold"])
        rows[one.label] = _figures(figures, int(correct[one.label].sum()), one.model)
        classes = tuple(one.card["labels"])
        recalls[one.label] = metrics.per_class(probabilities, labels, classes)["recall"]
    speed = latency.measure([one.model for one in contenders], BATCHES)
    return Comparison(
        split=name,
        pictures=len(labels),
        figures=pd.DataFrame.from_dict(rows, orient="index"),
        latency=pd.concat(
            [speed[speed["path"] == one.model].assign(label=one.label) for one in contenders]
        ),
        per_class=pd.DataFrame(recalls).rename_axis(None),
        pairs=[difference(a, b, correct[a], correct[b]) for a, b in combinations(correct, 2)],
    )


def difference(
    first: str, second: str, right: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]
) -> str:
    """McNemar's exact test in words: is one of two files better on the same pictures?

    Args:
        first: label of the one file.
        second: label of the other.
        right: which pictures `first` gets right, shape (N,).
        other: which pictures `second` gets right, shape (N,).
    """
    won, lost = int((other & ~right).sum()), int((right & ~other).sum())
    if won == lost == 0:
        return f"{first} and {second} are right on the very same pictures."
    chance = float(binomtest(won, won + lost).pvalue)
    p = "p < 0.001" if chance < 0.001 else f"p = {chance:.3f}"
    better = second if won > lost else first
    verdict = f"{better} is better" if chance < SIGNIFICANT else "this may be chance"
    return (
        f"{second} is right on {won:,} pictures that {first} gets wrong, and wrong on {lost:,} "
        f"that {first} gets right: {verdict} ({p}, McNemar's exact test)."
    )


def tables(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """The figures as people read them, by heading; every cell is text."""
    figures = comparison.figures
    percent = "{:.2%}".format
    quality = pd.DataFrame(
        {
            "accuracy": figures["accuracy"].map(percent),
            f"{CONFIDENCE:.0%} interval": [
                f"{low:.2%} to {high:.2%}"
                for low, high in zip(figures["low"], figures["high"], strict=True)
            ],
            "log-loss": figures["log_loss"].map("{:.4f}".format),
            "calibration error": figures["calibration_error"].map(percent),
        }
    )
    effort = pd.DataFrame(
        {
            "GFLOP": (figures["flops"] / 1e9).map("{:.3f}".format),
            "parameters": figures["parameters"].map("{:,}".format),
            "MB": (figures["bytes"] / 1e6).map("{:.2f}".format),
        }
    )
    for batch, rows in comparison.latency.set_index("label").groupby("batch"):
        effort[f"batch {batch}, µs a picture"] = [
            f"{row.median:,.0f} ({row.min:,.0f} to {row.max:,.0f})" for row in rows.itertuples()
        ]
    change = 100 * comparison.per_class.sub(comparison.per_class.iloc[:, 0], axis=0)
    per_class = comparison.per_class.map(percent)
    per_class.iloc[:, 1:] += change.iloc[:, 1:].map(" ({:+.1f})".format)
    return {"Quality": quality, "Cost and speed": effort, "Accuracy of each class": per_class}


def write(comparison: Comparison, folder: Path) -> Path:
    """Write the tables and a plot as one page, named after the contenders, and return its path."""
    labels = list(comparison.figures.index)
    loader = jinja2.FileSystemLoader(Path(__file__).parents[1] / "pages")
    page = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    html = page.get_template("compare.html").render(
        labels=labels,
        split=comparison.split,
        pictures=comparison.pictures,
        hardware=environment.hardware(),
        bins=metrics.CALIBRATION_BINS,
        rounds=latency.ROUNDS,
        tables={name: table.to_html(border=0) for name, table in tables(comparison).items()},
        pairs=comparison.pairs,
        plot=_png(_plot(comparison)),
    )
    folder.mkdir(parents=True, exist_ok=True)
    names = [re.sub(r"[^\w.]+", "-", label).strip("-") for label in labels]
    path = folder / f"{'-and-'.join(names)}.html"
    path.write_text(html)
    return path


def _splits(
    contenders: list[Contender], folder: Path | None
) -> tuple[str, dict[ResizeRule, Split]]:
    """The name of the split that tells most, and its pictures as each resize rule makes them."""
    size = contenders[0].size
    data = {one.rule: dataset.load(folder, size, one.rule) for one in contenders}
    for one in contenders:
        if list(data[one.rule].classes) != one.card["labels"]:
            raise TrainingError(f"{one.label}: its labels are not the classes of the data")
    test = {rule: dataset.load_test(folder, size, rule) for rule in data}
    labelled = {rule: split for rule, split in test.items() if split is not None}
    if labelled:
        return "test", labelled
    for one in contenders:
        if data[one.rule].fingerprint != one.card["data"]["fingerprint"]:
            raise TrainingError(
                f"{one.label}: was trained on other data, maybe on these validation pictures; "
                "a comparison needs labelled test pictures"
            )
    return "validation", {rule: loaded.validation for rule, loaded in data.items()}


def _figures(figures: dict[str, Any], correct: int, model: Path) -> dict[str, float]:
    interval = binomtest(correct, figures["pictures"]).proportion_ci(CONFIDENCE, method="wilson")
    return {
        "accuracy": figures["accuracy"],
        "low": float(interval.low),
        "high": float(interval.high),
        "log_loss": figures["log_loss"],
        "calibration_error": figures["expected_calibration_error"],
        "flops": cost.flops(model),
        "parameters": cost.parameters(model),
        "bytes": model.stat().st_size,
    }


def _plot(comparison: Comparison) -> Figure:
    """Accuracy with its interval against time a picture, one picture and many at a time."""
    figure, axes = plt.subplots(
        1, len(BATCHES), figsize=(9, 3.6), sharey=True, layout="constrained", squeeze=False
    )
    for axis, batch in zip(axes[0], BATCHES, strict=True):
        rows = comparison.latency[comparison.latency["batch"] == batch]
        for label, time in zip(rows["label"], rows["median"], strict=True):
            row = comparison.figures.loc[label]
            spread = [[row["accuracy"] - row["low"]], [row["high"] - row["accuracy"]]]
            axis.errorbar(time, row["accuracy"], spread, marker="o", capsize=3, label=label)
        axis.set_xlim(left=0)
        axis.set_xlabel(f"µs a picture, batch {batch}, one core")
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.yaxis.set_major_formatter(PercentFormatter(1))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel(f"accuracy ({comparison.split}), {CONFIDENCE:.0%} interval")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", frameon=False,
                  ncols=2)  # fmt: skip
    return figure


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
