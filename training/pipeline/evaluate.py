"""The step `evaluate`: completes the card and writes the report."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from training.data import dataset
from training.data.dataset import DataSet, Split
from training.errors import TrainingError
from training.export import to_onnx
from training.files import write_whole
from training.measure import latency, metrics, photographs, robustness, unfamiliar
from training.measure.evaluation import Evaluation, evaluate
from training.measure.metrics import Metrics
from training.measure.photographs import PhotographFigures
from training.measure.predict import Predictions, predict
from training.pages import report
from training.publish import artifact, readings, repository, served
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
) -> dict[str, Evaluation]:
    """Measure the exported files; of the steps, only this one reads the test split.

    Each reading is recorded in the run before the split is used, and counted in the card. Completes
    the card, and writes `evaluation.json` and `report.html` into the run folder.

    Args:
        run: an exported and verified run.
        data: that it was trained on.
        folder: of the data, with the test split.
        models: the model repository, for the comparison with the version published before.
        photograph_folders: of photographs of the classes and of other things.

    Returns:
        The evaluation of each split: `validation`, and `test` if there are labelled test pictures.

    Raises:
        TrainingError: nothing is exported and verified.
    """
    found = artifact.of_run(run.folder)
    exported = found.read_exported()
    if exported.parity is None:
        raise TrainingError(f"{run.folder}: not evaluated: run `verify` first")
    preset = exported.training.config
    test = dataset.load_test(folder, preset.image_size, preset.resize)
    if test:
        readings.record(run.folder, "evaluate", found.model)
    splits = {"validation": data.validation} | ({"test": test} if test else {})
    shown = list(splits)[-1]
    answers = {
        path.name: {name: predict(path, split.images) for name, split in splits.items()}
        for path in (found.model, *found.variants(exported))
    }
    own = answers[found.model.name]
    evaluations = {
        name: evaluate(
            found.model,
            split,
            data.classes,
            exported.energy_threshold,
            predictions=own[name],
            uncalibrated=exported.calibration.undo(own[name].probabilities),
        )
        for name, split in splits.items()
    }
    energies = unfamiliar.energies(found.model, preset.image_size, preset.resize)
    evaluated = _complete(found, exported, answers, evaluations, splits, energies)
    if test:
        counted = {"test_readings": readings.count(run.folder)}
        evaluated = evaluated.model_copy(update=counted)
    if photograph_folders:
        seen = {"photographs": _on_photographs(found, exported, *photograph_folders)}
        evaluated = evaluated.model_copy(update=seen)
    found.write_card(evaluated)
    as_served = (evaluated.as_served or {}).get(found.model.name, {})
    evaluations = {
        name: evaluation.model_copy(update={"as_served": as_served.get(name)})
        for name, evaluation in evaluations.items()
    }
    written = {name: evaluation.to_json() for name, evaluation in evaluations.items()}
    text = json.dumps(written, indent=1) + "\n"
    write_whole(run.folder / "evaluation.json", lambda path: path.write_text(text))
    ablation = run.folder.parent / f"ablation-{preset.name}" / "ablation.csv"
    report.write(
        report.Report(
            card=evaluated,
            evaluations=evaluations,
            data=data,
            shown=splits[shown],
            predictions=own[shown],
            unfamiliar=energies,
            published=_published(models, evaluated, splits[shown]),
            model=to_onnx.load_float32(run),
            histories=checkpoint.histories(run),
            ablation=pd.read_csv(ablation, index_col=0) if ablation.exists() else None,
        ),
        run.folder / "report.html",
    )
    return evaluations


def _complete(
    found: Artifact,
    exported: ExportedCard,
    answers: Mapping[str, Mapping[str, Predictions]],
    evaluations: Mapping[str, Evaluation],
    splits: Mapping[str, Split],
    energies: dict[str, unfamiliar.Energies],
) -> Card:
    """The card with all figures; `answers` are those of each file on each split."""
    shown = list(splits)[-1]
    familiar = {name: own.energy for name, own in answers[found.model.name].items()}
    test = len(splits["test"]) if "test" in splits else 0
    figures = {
        "data": exported.data.model_copy(update={"test": test}),
        "metrics": {
            file: {
                name: metrics.metrics(
                    predictions, splits[name].labels, exported.files[file].energy_threshold
                )
                for name, predictions in of_file.items()
            }
            for file, of_file in answers.items()
        },
        "reliability": {
            file: {
                shown: metrics.reliability(of_file[shown].probabilities, splits[shown].labels)
            }
            for file, of_file in answers.items()
        },
        "robustness": {
            name: robustness.means(evaluation.robustness)
            for name, evaluation in evaluations.items()
        },
        "unfamiliar": unfamiliar.figures(familiar, energies, exported.energy_threshold),
        "latency": latency.figures(
            [found.folder / name for name, file in exported.files.items()
             if file.precision != "float16"]
        ),
        **served.figures(found.folder, exported, answers, splits)._asdict(),
    }  # fmt: skip
    return Card(**dict(exported) | figures)


def _on_photographs(
    found: Artifact, exported: ExportedCard, familiar: Path, other: Path
) -> dict[str, PhotographFigures]:
    labels, size = exported.labels, exported.input.height
    loaded = photographs.load(familiar, other, labels, size, exported.resize, exported.closer_look)
    return {
        name: photographs.measure(
            found.folder / name, loaded, labels, file.energy_threshold, file.second_view
        )
        for name, file in exported.files.items()
    }


def _published(models: Path, own: ExportedCard, split: Split) -> report.Published | None:
    """The version published before, with its predictions; None if it takes other pictures."""
    before = [v for v in repository.versions(models, own.name) if v < own.version]
    if not before:
        return None
    found = Artifact(models / own.name / str(before[-1]))
    other = found.read_exported()
    if (other.labels, other.input) != (own.labels, own.input):
        return None
    return report.Published(f"{other.name} {other.version}", predict(found.model, split.images))


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
