"""Trains a preset and, before it, its teacher."""

from dataclasses import replace
from pathlib import Path

from training.data.dataset import DataSet
from training.presets import PRESETS, Preset
from training.train import fit
from training.train.checkpoint import Run


def fit_with_teacher(
    preset: Preset,
    data: DataSet,
    folder: Path,
    *,
    seed: int = 0,
    resume: bool = False,
    devices: int = 1,
) -> None:
    """Train a preset into a folder, its teacher into one beside it.

    A teacher that is trained already is used as it is, and one that was interrupted goes on. It
    takes the epochs of its preset, or those of its student where these are fewer. Arguments and
    errors are those of `fit.fit`.
    """
    if preset.teacher:
        teacher = PRESETS[preset.teacher]
        epochs = min(teacher.epochs, preset.epochs)
        teacher = replace(teacher, image_size=preset.image_size, epochs=epochs)
        beside = folder.with_name(f"{teacher.name}-seed{seed}")
        if not Run(beside).is_finished():
            print(f"{teacher.name}, seed {seed}, in {beside}")
            fit.fit(teacher, data, beside, seed=seed, resume=True, devices=devices)
    if resume and not Run(folder).checkpoint.exists():
        print(f"{folder}: no run to resume, a new one is started")
    print(f"{preset.name}, seed {seed}, in {folder}")
    fit.fit(preset, data, folder, seed=seed, resume=resume, devices=devices)
