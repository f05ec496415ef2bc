"""The step `evaluate`: completes the card and writes the report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from training.data import dataset
from training.data.dataset import DataSet, Split
from training.errors import TrainingError
from training.export import to_onnx
from training.files import write_whole
from training.measure import photographs
from training.measure.evaluation import Evaluation
from training.measure.metrics import Metrics
from training.measure.photographs import Photographs
from training.measure.predict import predict
from training.pages import report
from training.pipeline import measured
from training.publish import artifact, readings, repository
from training.publish.artifact import Artifact
from training.publish.card import Card, ExportedCard
from training.train import checkpoint
from training.train.checkpoint import Run


def evaluate_run(
    run: Run,
    data: DataSet,
    folder: Path | None,
    models: Path,
    photograph_folders: tuple[Path, Path] | None = None,
    others: Sequence[Card] = (),
) -> dict[str, Evaluation]:
    """Measure the exported files; of the steps, only this one reads the test split.

    Each reading is recorded in the run before the split is used, and counted in the card; all else
    is read before it. Completes the card, and writes `evaluation.json` and `report.html` into the
    run folder.

    Args:
        run: an exported and verified run.
        data: that it was trained on.
        folder: of the data, with the test split.
        models: the model repository, for the comparison with the version published before.
        photograph_folders: of photographs of the classes and of other things.
        others: the cards of other seeds of the same preset, for the spread.

    Returns:
        The evaluation of each split: `validation`, and `test` if there are labelled test pictures.

    Raises:
        TrainingError: nothing is exported and verified, or a photograph cannot be read.
    """
    files = artifact.of_run(run.folder)
    exported = files.read_exported()
    if exported.parity is None:
        raise TrainingError(f"{run.folder}: not evaluated: run `verify` first")
    seen = _photographs(exported, photograph_folders)
    published = _published(models, exported)
    histories = checkpoint.histories(run)
    table = run.folder.parent / f"ablation-{exported.training.preset}" / "ablation.csv"
    ablation = pd.read_csv(table, index_col=0) if table.exists() else None
    splits = _splits(run, files, exported, data, folder)
    found = measured.measure(files, exported, splits, seen)
    counted = readings.count(run.folder) if "test" in splits else None
    card = measured.complete(files, exported, found, counted, others)
    files.write_card(card)
    _write_json(run, found.evaluations)
    shown = list(splits)[-1]
    report.write(
        report.Report(
            card=card,
            evaluations=found.evaluations,
            data=data,
            shown=splits[shown],
            predictions=found.answers[files.model.name][shown],
            unfamiliar=found.energies,
            published=_compared(published, splits[shown]),
            model=to_onnx.load_float32(run),
            histories=histories,
            ablation=ablation,
        ),
        run.folder / "report.html",
    )
    return found.evaluations


def _photographs(card: ExportedCard, folders: tuple[Path, Path] | None) -> Photographs | None:
    if folders is None:
        return None
    return photographs.load(*folders, card.labels, card.input.height, card.resize, card.closer_look)


def _splits(
    run: Run, files: Artifact, card: ExportedCard, data: DataSet, folder: Path | None
) -> dict[str, Split]:
    """The splits to measure on; that the test split is read is recorded."""
    test = dataset.load_test(folder, card.input.height, card.resize)
    if test is None:
        return {"validation": data.validation}
    readings.record(run.folder, "evaluate", files.model)
    return {"validation": data.validation, "test": test}


def _write_json(run: Run, evaluations: Mapping[str, Evaluation]) -> None:
    written = {name: evaluation.to_json() for name, evaluation in evaluations.items()}
    text = json.dumps(written, indent=1) + "\n"
    write_whole(run.folder / "evaluation.json", lambda path: path.write_text(text))


def _published(models: Path, own: ExportedCard) -> Artifact | None:
    """The version published before; None if there is none or it takes other pictures."""
    before = [v for v in repository.versions(models, own.name) if v < own.version]
    if not before:
        return None
    published = Artifact(models / own.name / str(before[-1]))
    other = published.read_exported()
    return published if (other.labels, other.input) == (own.labels, own.input) else None


def _compared(published: Artifact | None, split: Split) -> report.Published | None:
    if published is None:
        return None
    card = published.read_exported()
    predictions = predict(published.model, split.images)
    return report.Published(f"{card.name} {card.version}", predictions)


def summary(evaluations: Mapping[str, Evaluation]) -> list[str]:
    """The main figures of each split as lines of text."""
    lines = []
    for name, figures in evaluations.items():
        lines.append(f"{name}: {_sentence(figures)}")
        if served := figures.as_served:
            twice = f"{served.second_views:.1%} of them computed twice"
            lines.append(f"{name}, with second views: {_sentence(served)}, {twice}")
    if "test" not in evaluations:
        lines.append("test: not measured, there are no labelled test pictures")
    return lines


def _sentence(figures: Metrics) -> str:
    return (
        f"accuracy {figures.accuracy:.2%} of {figures.pictures:,} pictures, "
        f"log-loss {figures.log_loss:.4f}, "
        f"calibration error {figures.expected_calibration_error:.2%}"
    )
