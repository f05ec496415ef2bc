"""The steps from data to a published version, each on its own and all in a row.

fit -> export -> verify -> evaluate -> publish. The steps after `fit` work on the folder
`artifact/` inside the run folder; the card there grows with each step, and `publish` takes only
a card that has been through all of them.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training import environment
from training.data import dataset
from training.data.dataset import DataSet, Split
from training.data.reader import CIFAR10_LABELS
from training.errors import TrainingError
from training.export import parity, to_onnx, variants
from training.export.calibration import Calibration
from training.measure import cost, latency, metrics, robustness, unfamiliar
from training.measure.metrics import Predictions
from training.pages import report
from training.presets import PRESETS, Preset, preset_from_json
from training.publish import repository
from training.publish.repository import Artifact
from training.train import fit
from training.train.checkpoint import Run


def model_name(data: DataSet, folder: Path | None) -> str:
    """`cifar10` for CIFAR-10 in any layout, else the name of the data folder."""
    if folder is None or data.classes == CIFAR10_LABELS:
        return "cifar10"
    return folder.resolve().name


def load_for(run: Run, folder: Path | None) -> DataSet:
    """The data that a run was trained on.

    Raises:
        TrainingError: the folder holds other data.
    """
    settings = run.read_settings()
    preset = preset_from_json(settings["preset"])
    data = dataset.load(folder, preset.image_size, preset.resize)
    if data.fingerprint != settings["data"]["fingerprint"]:
        raise TrainingError(f"{run.folder}: trained on other data than --data names")
    return data


def export_run(run: Run, data: DataSet, models: Path, name: str) -> Artifact:
    """Write `model.onnx` as the next version of `name`, its variants, and the card's first part."""
    settings = run.read_settings()
    history = run.read_history()
    if history.empty:
        raise TrainingError(f"{run.folder}: no epoch is finished; go on with `fit --resume`")
    found = repository.of_run(run.folder)
    version = max([0, *repository.versions(models, name)]) + 1
    exported = to_onnx.export(run, data.validation, found.model, name=name, version=version)
    preset = settings["preset"]
    origin = settings["origin"]
    found.write_card(
        {
            "name": name,
            "version": version,
            "labels": settings["classes"],
            "input": {"height": preset["image_size"], "width": preset["image_size"]},
            "resize": preset["resize"],
            "energy_threshold": exported.energy_threshold,
            **asdict(exported.calibration),
            "cost": {"flops": cost.flops(found.model), "parameters": cost.parameters(found.model)},
            "accuracy_loss_limit": variants.ACCURACY_LOSS_LIMIT,
            "files": {
                found.model.name: repository.describe(
                    found.model, "float32", exported.energy_threshold
                ),
                **variants.write(found.model, data),
            },
            "training": {
                "preset": preset["name"],
                "seed": settings["seed"],
                "config": preset,
                "epochs": len(history),
                "wall_time_s": round(float(history["seconds"].sum()), 1),
                **origin,
            },
            "data": settings["data"],
        }
    )
    return found


def verify_run(run: Run, data: DataSet) -> float:
    """Compare `model.onnx` with Keras, and its variants with it; note it in the card."""
    found = repository.of_run(run.folder)
    card = found.read_card()
    images = data.validation.images
    difference = parity.verify(run, found.model, images, Calibration.of_card(card))
    agreement = {
        path.name: parity.agreement(found.model, path, images) for path in found.variants(card)
    }
    found.write_card(card | {"parity": difference, "agreement": agreement})
    return difference


def evaluate_run(
    run: Run, data: DataSet, folder: Path | None, models: Path
) -> dict[str, dict[str, Any]]:
    """Measure the exported file; the one place where the test split is read.

    Writes the figures into the card, and `evaluation.json` and `report.html` into the run folder.

    Returns:
        The evaluation of each split, validation first; no `test` without labelled test pictures.

    Raises:
        TrainingError: there is nothing exported and verified.
    """
    found = repository.of_run(run.folder)
    card = found.read_card()
    if "parity" not in card:
        raise TrainingError(f"{run.folder}: not evaluated: run `verify` first")
    preset = preset_from_json(card["training"]["config"])
    test = dataset.load_test(folder, preset.image_size, preset.resize)
    splits = {"validation": data.validation} | ({"test": test} if test else {})
    shown = list(splits)[-1]
    answers = {
        path.name: {name: metrics.predict(path, s.images) for name, s in splits.items()}
        for path in (found.model, *found.variants(card))
    }
    own = answers[found.model.name]
    evaluations = {
        name: _evaluation(found.model, own[name], split, data.classes, card)
        for name, split in splits.items()
    }
    others = unfamiliar.energies(found.model, preset.image_size, preset.resize)
    card["metrics"] = {
        file: {
            name: metrics.metrics(a, splits[name].labels, card["files"][file]["energy_threshold"])
            for name, a in of_file.items()
        }
        for file, of_file in answers.items()
    }
    card["reliability"] = {
        file: {shown: _bins(of_file[shown].probabilities, splits[shown])}
        for file, of_file in answers.items()
    }
    card["robustness"] = {
        name: robustness.means(figures["robustness"]) for name, figures in evaluations.items()
    }
    card["unfamiliar"] = unfamiliar.figures(
        {name: a.energy for name, a in own.items()}, others, card["energy_threshold"]
    )
    card["latency"] = _latency(found, card)
    card["data"]["test"] = len(test) if test else 0
    found.write_card(card)
    (run.folder / "evaluation.json").write_text(json.dumps(evaluations, indent=1) + "\n")
    ablation = run.folder.parent / f"ablation-{preset.name}" / "ablation.csv"
    report.write(
        report.Report(
            card=card, evaluations=evaluations, data=data, shown=splits[shown],
            predictions=own[shown], others=others,
            published=_published(models, card, splits[shown]), model=to_onnx.load_float32(run),
            histories=_histories(run),
            ablation=pd.read_csv(ablation, index_col=0) if ablation.exists() else None,
        ),
        run.folder / "report.html",
    )  # fmt: skip
    return evaluations


def _evaluation(
    model: Path, predictions: Predictions, split: Split, classes: tuple[str, ...],
    card: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    before = Calibration.of_card(card).undo(predictions.probabilities)
    return {
        **metrics.evaluation(predictions, split, classes, card["energy_threshold"]),
        "reliability_before": _bins(before, split),
        "robustness": robustness.measure(model, split),
    }


def _bins(probabilities: npt.NDArray[np.float32], split: Split) -> list[dict[str, Any]]:
    table = metrics.reliability(probabilities, split.labels)
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _published(models: Path, card: dict[str, Any], split: Split) -> report.Other | None:
    """What the version that was published before says of a split, if it takes such pictures."""
    before = [v for v in repository.versions(models, card["name"]) if v < card["version"]]
    if not before:
        return None
    found = Artifact(models / card["name"] / str(before[-1]))
    other = found.read_card()
    if any(other[key] != card[key] for key in ("labels", "input")):
        return None
    name = f"{other['name']} {other['version']}"
    return report.Other(name, metrics.predict(found.model, split.images))


def _histories(run: Run) -> dict[int, pd.DataFrame]:
    """The history of a run, and of the runs beside it that differ from it by their seed alone."""
    own = run.read_settings()
    found = {}
    for path in sorted(run.folder.parent.glob("*/checkpoint.keras")):
        beside = Run(path.parent)
        settings = beside.read_settings()
        if all(settings[key] == own[key] for key in ("preset", "data")):
            found[settings["seed"]] = beside.read_history()
    return found | {own["seed"]: run.read_history()}


def run_all(
    preset: Preset,
    data: DataSet,
    folder: Path | None,
    *,
    models: Path,
    runs: Path,
    name: str,
    seeds: Sequence[int],
    resume: bool = False,
    devices: int = 1,
) -> Path:
    """Train, export, verify and evaluate each seed, its teacher before it; publish the first.

    The first seed ships whatever the others give: they tell the spread and are no choice.

    Returns:
        The published version's folder.
    """
    done = [Run(runs / f"{preset.name}-seed{seed}") for seed in seeds]
    results = []
    for seed, run in zip(seeds, done, strict=True):
        if preset.teacher:
            taught_by = replace(PRESETS[preset.teacher], image_size=preset.image_size)
            beside = run.folder.with_name(f"{taught_by.name}-seed{seed}")
            print(f"{taught_by.name}, seed {seed}, in {beside}")
            fit.fit(taught_by, data, beside, seed=seed, resume=True, devices=devices)
        print(f"{preset.name}, seed {seed}, in {run.folder}")
        fit.fit(preset, data, run.folder, seed=seed, resume=resume, devices=devices)
        export_run(run, data, models, name)
        print(f"  Keras and ONNX Runtime differ by {verify_run(run, data):.1e} at most")
        results.append(evaluate_run(run, data, folder, models))
        for line in summary(results[-1]):
            print(f"  {line}")
    first = repository.of_run(done[0].folder)
    if len(results) > 1:
        first.write_card(first.read_card() | {"seeds": spread(seeds, results)})
    return repository.publish(first, models)


def summary(evaluations: dict[str, dict[str, Any]]) -> list[str]:
    """One line for each split, for people."""
    lines = [
        f"{name}: accuracy {figures['accuracy']:.2%} of {figures['pictures']:,} pictures, "
        f"log-loss {figures['log_loss']:.4f}, "
        f"calibration error {figures['expected_calibration_error']:.2%}"
        for name, figures in evaluations.items()
    ]
    if "test" not in evaluations:
        lines.append("test: not measured, there are no labelled test pictures")
    return lines


def spread(
    seeds: Sequence[int], results: Sequence[dict[str, dict[str, Any]]]
) -> dict[str, dict[str, Any]]:
    """Accuracy over seeds for each split: every value, mean and sample standard deviation."""
    table = {}
    for split in results[0]:
        values = [result[split]["accuracy"] for result in results]
        table[split] = {
            "seeds": list(seeds),
            "accuracy": values,
            "mean": float(np.mean(values)),
            "standard_deviation": float(np.std(values, ddof=1)),
        }
    return table


def _latency(found: Artifact, card: dict[str, Any]) -> dict[str, Any]:
    """Microseconds a picture on one core, for each file that is made for processors."""
    paths = [found.folder / name for name, file in card["files"].items()
             if file["precision"] != "float16"]  # fmt: skip
    files: dict[str, dict[str, Any]] = {path.name: {} for path in paths}
    for row in latency.measure(paths).to_dict("records"):
        files[row["path"].name][str(row["batch"])] = {
            key: round(row[key], 1) for key in ("median", "min", "max")
        }
    return {"hardware": environment.hardware(), "unit": "microseconds of one core a picture",
            "files": files}  # fmt: skip
