"""The steps `export` and `verify`, and what all steps need of a run."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from training.data import dataset
from training.data.dataset import DataSet
from training.data.reader import CIFAR10_LABELS
from training.errors import TrainingError
from training.export import closer_look, parity, to_onnx, variants
from training.files import one_component
from training.measure import agreement, cost
from training.publish import artifact, repository, stated
from training.publish.artifact import Artifact
from training.publish.card import ExportedCard, InputSize, Training
from training.train import origin
from training.train.checkpoint import Run, Settings


def model_name(data: DataSet, folder: Path | None) -> str:
    """`cifar10` for CIFAR-10 in any layout, otherwise the name of the data folder.

    Raises:
        TrainingError: that is no name for a model.
    """
    if folder is None or data.classes == CIFAR10_LABELS:
        return "cifar10"
    try:
        return one_component(folder.resolve().name)
    except ValueError as error:
        raise TrainingError(f"{folder}: {error}; name the model with --name") from None


def load_for(run: Run, folder: Path | None) -> DataSet:
    """The data that a run was trained on.

    Raises:
        TrainingError: the folder holds other data.
    """
    settings = run.read_settings()
    data = dataset.load(folder, settings.preset.image_size, settings.preset.resize)
    if data.fingerprint != settings.data.fingerprint:
        raise TrainingError(f"{run.folder}: trained on other data than --data names")
    return data


def export_run(run: Run, data: DataSet, models: Path, name: str) -> Artifact:
    """Write `model.onnx`, its variants and their card.

    Args:
        run: a run with at least one finished epoch.
        data: that it was trained on.
        models: the model repository, which decides the next version.
        name: of the model.

    Raises:
        TrainingError: there is no run, or no epoch is finished.
    """
    settings, history = run.read_settings(), run.read_history()
    if history.empty:
        raise TrainingError(f"{run.folder}: no epoch is finished; continue with `fit --resume`")
    files = artifact.of_run(run.folder)
    version = repository.next_version(models, name)
    exported = to_onnx.export(run, data.validation, files.model, name=name, version=version)
    described = {files.model.name: artifact.describe(files.model, "float32", exported)}
    for variant in variants.write(files.model, data):
        described[variant.path.name] = artifact.describe(
            variant.path, variant.precision, variant.fitted, variant.ranges
        )
    preset = settings.preset
    files.write_card(
        ExportedCard(
            name=name,
            version=version,
            labels=settings.classes,
            input=InputSize(height=preset.image_size, width=preset.image_size),
            resize=preset.resize,
            closer_look=closer_look.choose(preset, settings.data),
            energy_threshold=exported.energy_threshold,
            **asdict(exported.calibration),
            cost=cost.cost(files.model),
            accuracy_loss_limit=variants.ACCURACY_LOSS_LIMIT,
            files=described,
            training=_training(run, settings, history),
            data=settings.data,
        )
    )
    return files


def _training(run: Run, settings: Settings, history: pd.DataFrame) -> Training:
    timed = history["processor_seconds"].dropna()
    changes = (*settings.changes, *origin.not_recorded(settings, history))
    return Training(
        preset=settings.preset.name,
        seed=settings.seed,
        config=settings.preset,
        epochs=len(history),
        wall_time_s=round(float(history["seconds"].sum()), 1),
        processor_time_s=round(float(timed.sum()), 1) if len(timed) else None,
        processor_time_epochs=len(timed) or None,
        checkpoint=artifact.sha256(run.checkpoint),
        changes=changes or None,
        **dict(settings.origin),
    )


def verify_run(run: Run, data: DataSet) -> float:
    """Compare the files with their card, and their answers; complete the card.

    The answers of `model.onnx` are compared with the checkpoint, those of variants with
    `model.onnx`, and those of each file with its own logits.

    Returns:
        The largest difference between the trained network and `model.onnx`.

    Raises:
        TrainingError: a difference is too large, or nothing is exported.
    """
    found = artifact.of_run(run.folder)
    exported = found.read_exported()
    if exported.labels != run.read_settings().classes:
        raise TrainingError(
            f"{found.card}: its labels are not the classes of the run; export again"
        )
    stated.check(found, exported)
    images = data.validation.images
    for name in exported.files:
        parity.verify_outputs(found.folder / name, images, exported.calibration_of(name))
    difference = parity.verify(run, found.model, images, exported.calibration)
    agreements = {
        path.name: agreement.agreement(found.model, path, images)
        for path in found.variants(exported)
    }
    found.write_card(exported.model_copy(update={"parity": difference, "agreement": agreements}))
    return difference
