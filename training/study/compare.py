"""Compares exported files: accuracy, calibration, cost and speed, and whether they differ."""

import re
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from training import environment
from training.data import dataset
from training.data.dataset import Split
from training.errors import TrainingError
from training.measure import intervals, latency, metrics
from training.measure.cost import cost
from training.measure.metrics import Metrics
from training.measure.predict import predict
from training.measure.second_view import as_served
from training.pages import html, plots
from training.presets import ResizeRule
from training.publish import artifact, readings
from training.publish.artifact import Artifact
from training.publish.card import ExportedCard

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Contender:
    """One exported file.

    Attributes:
        label: its name in tables.
        model: the ONNX file.
        card: of its folder.
        run: the folder of the run that it lies in; None where it is published.
    """

    label: str
    model: Path
    card: ExportedCard
    run: Path | None = None

    @property
    def size(self) -> int:
        """Height and width of its input in pixels."""
        return self.card.input.height


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        split: `test`, or `validation` where there are no labelled test pictures.
        pictures: number of pictures in the split.
        figures: one row for each contender: `accuracy` of one view with its interval `low` to
            `high`, `log_loss`, `calibration_error`, `served`, the accuracy with second views, the
            same where there are none, `flops`, `parameters`, `bytes`.
        latency: the table of `latency.measure` with the column `label`.
        per_class: accuracy of each class, one column for each contender.
        pairs: McNemar's test for each pair, as a sentence.
    """

    split: str
    pictures: int
    figures: pd.DataFrame
    latency: pd.DataFrame
    per_class: pd.DataFrame
    pairs: list[str]


def find(what: str, models: Path) -> Contender:
    """The exported file that an argument names.

    Args:
        what: a version of `cifar10`, a folder (of a run too), or an ONNX file.
        models: the model repository.

    Raises:
        TrainingError: there is no such file, or it is not the one that its card describes.
    """
    label = f"cifar10/{what}" if what.isdecimal() else what
    path = models / label if what.isdecimal() else Path(what)
    if (path / "artifact").is_dir():
        path = artifact.of_run(path).folder
    found = Artifact(path.parent if path.is_file() else path)
    model = path if path.is_file() else found.model
    card = found.read_exported()
    if model.name not in card.files:
        raise TrainingError(f"{model}: not among the files of {found.card}")
    run = found.folder.parent
    return Contender(label, model, card, run if (run / "run.json").exists() else None)


def compare(
    contenders: list[Contender], folder: Path | None, *, test: bool | None = None
) -> Comparison:
    """Measure all contenders on the same pictures.

    Args:
        contenders: what is compared.
        folder: the data; None for the download of Keras.
        test: whether to use the test split, or the validation split; by default only published
            versions are compared on the test split, where it has labels, because a comparison of
            runs is a choice. Each run records that its test split was read.

    Raises:
        TrainingError: their labels, input sizes or data differ, or there is no such split.
    """
    first = contenders[0]
    name, splits = splits_for(contenders, folder, "compare", test=test)
    labels = splits[first.card.resize].labels
    correct, rows, recalls = {}, {}, {}
    for one in contenders:
        images, rule = splits[one.card.resize].images, one.card.files[one.model.name].second_view
        answer = predict(one.model, images)
        served = as_served(rule, one.model, images, answer).probabilities.argmax(axis=1)
        probabilities = answer.probabilities
        correct[one.label] = probabilities.argmax(axis=1) == labels
        figures = metrics.metrics(answer, labels, one.card.energy_threshold)
        rows[one.label] = {
            **_figures(figures, one.model),
            "served": float(np.mean(served == labels)),
        }
        of_class = metrics.per_class(probabilities, labels, one.card.labels)
        recalls[one.label] = {name: row.recall for name, row in of_class.items()}
    speed = latency.measure([one.model for one in contenders])
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
    """Whether one of two files is better on the same pictures: McNemar's exact test, in words.

    Args:
        first: label of the one file.
        second: label of the other.
        right: which pictures `first` gets right, shape (N,).
        other: which pictures `second` gets right, shape (N,).
    """
    won, lost = int((other & ~right).sum()), int((right & ~other).sum())
    if won == lost == 0:
        return f"{first} and {second} are right on the same pictures."
    chance = metrics.mcnemar(right, other)
    p = "p < 0.001" if chance < 0.001 else f"p = {chance:.3f}"
    better = second if won > lost else first
    verdict = f"{better} is better" if chance < SIGNIFICANT else "this may be chance"
    return (
        f"{second} is right on {won:,} pictures that {first} gets wrong, and wrong on {lost:,} "
        f"that {first} gets right: {verdict} ({p}, McNemar's exact test)."
    )


def tables(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """The figures formatted as text, by heading."""
    figures = comparison.figures
    percent = "{:.2%}".format
    quality = pd.DataFrame(
        {
            "accuracy": figures["accuracy"].map(percent),
            f"{intervals.CONFIDENCE:.0%} interval": [
                f"{low:.2%} to {high:.2%}"
                for low, high in zip(figures["low"], figures["high"], strict=True)
            ],
            "with second views": figures["served"].map(percent),
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
    """Write the tables and a plot as a page named after the contenders; returns its path."""
    labels = list(comparison.figures.index)
    ylabel = f"accuracy ({comparison.split}), {intervals.CONFIDENCE:.0%} interval"
    plot = plots.accuracy_against_time(comparison.figures, comparison.latency, ylabel)
    page = html.render(
        "compare.html",
        labels=labels,
        split=comparison.split,
        pictures=comparison.pictures,
        hardware=environment.hardware(),
        bins=metrics.CALIBRATION_BINS,
        rounds=latency.ROUNDS,
        tables={name: table.to_html(border=0) for name, table in tables(comparison).items()},
        pairs=comparison.pairs,
        plot=html.png(plot),
    )
    folder.mkdir(parents=True, exist_ok=True)
    names = [re.sub(r"[^\w.]+", "-", label).strip("-") for label in labels]
    path = folder / f"{'-and-'.join(names)}.html"
    path.write_text(page)
    return path


def splits_for(
    contenders: list[Contender], folder: Path | None, command: str, *, test: bool | None
) -> tuple[str, dict[ResizeRule, Split]]:
    """The name of the split to measure on, and the split by resize rule.

    Records in each run, under the name of the command, that its test split was read. The other
    arguments are those of `compare`.

    Raises:
        TrainingError: labels, input sizes or data differ, or there is no such split.
    """
    first = contenders[0]
    for other in contenders[1:]:
        if other.card.labels != first.card.labels:
            raise TrainingError(f"{other.label}: its labels are not those of {first.label}")
        if other.card.input != first.card.input:
            raise TrainingError(f"{other.label}: its input size is not that of {first.label}")
    size = first.size
    rules = {one.card.resize for one in contenders}
    data = {rule: dataset.load(folder, size, rule) for rule in rules}
    for one in contenders:
        if data[one.card.resize].classes != one.card.labels:
            raise TrainingError(f"{one.label}: its labels are not the classes of the data")
    published = not any(one.run for one in contenders)
    if test or (test is None and published):
        splits = {rule: dataset.load_test(folder, size, rule) for rule in data}
        labelled = {rule: split for rule, split in splits.items() if split is not None}
        if labelled:
            for one in contenders:
                if one.run:
                    readings.record(one.run, command, one.model)
            return "test", labelled
        if test:
            raise TrainingError("--data has no labelled test pictures")
    for one in contenders:
        if data[one.card.resize].fingerprint != one.card.data.fingerprint:
            raise TrainingError(
                f"{one.label}: was trained on other data, possibly on these validation pictures; "
                "compare on labelled test pictures, with --split test"
            )
    return "validation", {rule: loaded.validation for rule, loaded in data.items()}


def _figures(figures: Metrics, model: Path) -> dict[str, float]:
    low, high = intervals.wilson(figures.accuracy, figures.pictures)
    return {
        "accuracy": figures.accuracy,
        "low": low,
        "high": high,
        "log_loss": figures.log_loss,
        "calibration_error": figures.expected_calibration_error,
        **dict(cost(model)),
        "bytes": model.stat().st_size,
    }
