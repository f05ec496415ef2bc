"""The output of the command line: results as a table, CSV or JSON lines, and plain columns."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from service.cli.files import Outcome
from service.errors import ServiceError

# Longer paths push the rest of their row to the right.
MAX_PATH_WIDTH = 60

# The heading, and a function that makes the row of one file; both end with a newline.
Format = tuple[str, Callable[[Path, Outcome], str]]
# Makes it for files, the labels of a model, a number of classes, and the thresholds of the label
# sets, if those are wanted.
FormatMaker = Callable[[Sequence[Path], Sequence[str], int, Sequence[float] | None], Format]


def table(
    files: Sequence[Path],
    labels: Sequence[str],
    top_k: int,
    thresholds: Sequence[float] | None,
) -> Format:
    """A table in columns whose widths are known before the first result."""
    path_width = min(MAX_PATH_WIDTH, max((len(printable(file)) for file in files), default=0))
    label_width = max(map(len, labels))

    def row(file: Path, outcome: Outcome) -> str:
        path = f"{printable(file):{path_width}}"
        if isinstance(outcome, ServiceError):
            return f"{path}  not classified: {outcome}\n"
        cells = [
            f"{p.label:{label_width}} {_percent(p.probability):>6}" for p in outcome.top(top_k)
        ]
        if thresholds is not None:
            cells.append(" or ".join(outcome.label_set(thresholds)) or "no class")
        return "  ".join([path, *cells, *(["unfamiliar"] if outcome.unfamiliar else [])]) + "\n"

    return "", row


def _percent(share: float) -> str:
    """A share with one decimal; a rounded 100% or 0% would claim certainty."""
    if 0.9995 <= share < 1:
        return ">99.9%"
    if 0 < share < 0.0005:
        return "<0.1%"
    return f"{share:.1%}"


def comma_separated(
    _files: Sequence[Path],
    _labels: Sequence[str],
    top_k: int,
    thresholds: Sequence[float] | None,
) -> Format:
    """CSV: one row for each file, two columns for each class; a label set is joined by bars."""
    numbers = ["", *(f"_{i}" for i in range(2, top_k + 1))]
    answers = [f"{name}{number}" for number in numbers for name in ("label", "probability")]

    if thresholds is not None:
        answers.append("label_set")

    def row(file: Path, outcome: Outcome) -> str:
        if isinstance(outcome, ServiceError):
            return _csv_line([str(file), *[""] * len(answers), "", str(outcome)])
        cells = [cell for p in outcome.top(top_k) for cell in (p.label, f"{p.probability:.6f}")]
        if thresholds is not None:
            cells.append("|".join(outcome.label_set(thresholds)))
        return _csv_line([str(file), *cells, str(outcome.unfamiliar).lower(), ""])

    return _csv_line(["path", *answers, "unfamiliar", "error"]), row


def json_lines(
    _files: Sequence[Path],
    _labels: Sequence[str],
    top_k: int,
    thresholds: Sequence[float] | None,
) -> Format:
    """One JSON object in each line, as in the answers of the HTTP API."""

    def row(file: Path, outcome: Outcome) -> str:
        line: dict[str, object] = {"path": str(file)}
        if isinstance(outcome, ServiceError):
            line["error"] = str(outcome)
        else:
            line["predictions"] = [
                p._asdict() | {"probability": round(p.probability, 6)} for p in outcome.top(top_k)
            ]
            line["unfamiliar"] = outcome.unfamiliar
            line["image"] = asdict(outcome.image)
            if thresholds is not None:
                line["label_set"] = outcome.label_set(thresholds)
        return json.dumps(line) + "\n"

    return "", row


FORMATS: dict[str, FormatMaker] = {
    "table": table,
    "csv": comma_separated,
    "jsonl": json_lines,
}


def columns(rows: Iterable[Sequence[str]]) -> str:
    """Aligns rows in columns, each as wide as its widest cell."""
    padded = []
    for cells in zip(*rows, strict=True):
        width = max(map(len, cells))
        padded.append([f"{cell:{width}}" for cell in cells])
    return "".join("  ".join(row).rstrip() + "\n" for row in zip(*padded, strict=True))


def printable(path: Path) -> str:
    """The path in one line, with unprintable characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
