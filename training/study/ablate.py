"""Ablation: trains a preset with one part removed or changed at a time."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from training.data import dataset
from training.data.dataset import DataSet
from training.errors import TrainingError
from training.export import to_onnx
from training.files import write_whole
from training.measure import robustness, unfamiliar
from training.measure.predict import predict, right
from training.presets import BASELINE, DEFAULT, ArticleNetwork, Augmentation, Preset
from training.train import fit
from training.train.checkpoint import Run

EPOCHS = {BASELINE.name: 8, DEFAULT.name: 8}
SEEDS = 3
ROUGH_PICTURES = 1_000
PLAIN = Augmentation(flip="none", shift=0)


def _article(**changes: Any) -> Preset:  # noqa: ANN401
    network = replace(ArticleNetwork(), **changes)
    return replace(BASELINE, epochs=EPOCHS[BASELINE.name], network=network)


def _default(**changes: Any) -> Preset:  # noqa: ANN401
    treatment = {key: changes.pop(key) for key in list(changes) if hasattr(PLAIN, key)}
    how = replace(DEFAULT.augmentation, **treatment)
    return replace(DEFAULT, augmentation=how, epochs=EPOCHS[DEFAULT.name], **changes)


def _slug(variant: str) -> str:
    return variant.replace(" ", "-").replace(",", "")


# At most six of each, because all have the same seeds; the first is the preset itself.
VARIANTS: dict[str, dict[str, Preset]] = {
    BASELINE.name: {
        "baseline": _article(),
        "half the depth": _article(depth=1),
        "no dropout": _article(dropout=0.0, dense_dropout=0.0),
        "no L2": _article(l2=0.0),
        "no augmentation": replace(_article(), augmentation=PLAIN),
        "separable convolutions": _article(convolution="separable"),
    },
    DEFAULT.name: {
        "default": _default(),
        "no cutout": _default(cutout=0),
        "no zoom, tint or degradation": _default(zoom=0.0, tint=0.0, degrade=0.0),
        "no outliers": _default(outliers=0.0),
        "no sharpness-aware steps": _default(sharpness_radius=0.0, sharpness_share=0.0),
        "Adam in place of Muon": _default(optimizer="adam", learning_rate=2e-3),
    },
}


def ablate(
    name: str, data: DataSet, folder: Path, *, seed: int = 0, pictures: int | None = None
) -> pd.DataFrame:
    """Train every variant with the same three seeds; a further call continues an interrupted one.

    Every variant is trained with one seed before any is trained with the next. What is finished is
    not trained or measured again.

    Args:
        name: of the preset.
        data: the splits.
        folder: gets a run for each variant and seed, and the table as `ablation.csv` after each.
        seed: the first seed.
        pictures: train on the first so many pictures, by default on all.

    Returns:
        One row for each variant, means over its `seeds`: `parameters`, `train_accuracy` (without
        dropout and augmentation, on as many pictures as are in validation), `validation_accuracy`,
        its standard deviation `spread`, the `difference` to the first variant, seed by seed, with
        the 95 % interval `low` to `high` of its mean, the difference `gap` of the two accuracies,
        `rough_accuracy` (on blurred, noisy and re-encoded copies of 1,000 validation pictures), and
        `unfamiliar_auroc`.

    Raises:
        TrainingError: the preset has no variants, or the folder holds runs with other settings.
    """
    if name not in VARIANTS:
        raise TrainingError(f"{name} has no variants; choose one of {', '.join(VARIANTS)}")
    data = dataset.first(data, pictures or len(data.train))
    variants = VARIANTS[name]
    figures: dict[str, list[dict[str, float]]] = {variant: [] for variant in variants}
    for seed_ in range(seed, seed + SEEDS):
        for variant, preset in variants.items():
            run = Run(folder / f"{_slug(variant)}-seed{seed_}")
            figures[variant].append(_figures(preset, data, run, seed_))
            _table(figures).to_csv(folder / "ablation.csv")
    return _table(figures)


def _figures(preset: Preset, data: DataSet, run: Run, seed: int) -> dict[str, float]:
    """The figures of a variant with a seed, which its run keeps."""
    print(f"{run.folder.name}:")
    kept = run.folder / "ablation.json"
    parameters = _train(preset, data, run, seed)
    if not kept.exists():
        text = json.dumps({"parameters": parameters, **_measured(run, preset, data)})
        write_whole(kept, lambda path: path.write_text(text))
    return dict(json.loads(kept.read_text()))


def _table(figures: dict[str, list[dict[str, float]]]) -> pd.DataFrame:
    """The means of what is measured so far."""
    first = pd.DataFrame(next(iter(figures.values())))["validation_accuracy"]
    rows = {}
    for variant, measured in figures.items():
        if not measured:
            continue
        table = pd.DataFrame(measured)
        own = table["validation_accuracy"]
        difference = own - first[: len(own)]
        half = stats.t.ppf(0.975, len(own) - 1) * difference.std() / len(own) ** 0.5
        added = {"spread": own.std(), "seeds": len(own), "difference": difference.mean(),
                 "low": difference.mean() - half, "high": difference.mean() + half}  # fmt: skip
        rows[variant] = pd.concat([table.mean(), pd.Series(added)])
    whole = {"parameters": int, "seeds": int}
    return pd.DataFrame(rows).T.rename_axis("variant").astype(whole)


def _train(preset: Preset, data: DataSet, run: Run, seed: int) -> int:
    """Train or continue a run; returns the number of parameters."""
    try:
        # Validation after each epoch on the whole split would take a tenth of the time.
        brief = replace(data, validation=data.validation.first(ROUGH_PICTURES))
        model = fit.fit(preset, brief, run.folder, seed=seed, resume=True)
    except TrainingError as error:
        raise TrainingError(f"{error}; or delete {run.folder.parent} to start again") from None
    return int(model.count_params())


def _measured(run: Run, preset: Preset, data: DataSet) -> dict[str, float]:
    model = run.folder / "model.onnx"
    threshold = to_onnx.export(
        run, data.validation, model, name="ablation", version=1
    ).energy_threshold
    validation = data.validation
    answers = predict(model, validation.images)
    accuracy = float(np.mean(answers.probabilities.argmax(axis=1) == validation.labels))
    seen = data.train.first(len(validation))
    train_accuracy = float(right(model, seen.images, seen.labels).mean())
    some = validation.first(ROUGH_PICTURES)
    copies = (
        robustness.changed(some.images, "blur", 5),
        robustness.changed(some.images, "noise", 5),
        robustness.encoded(some.images, 40),
    )
    energies = unfamiliar.energies(model, preset.image_size, preset.resize)
    figures = unfamiliar.figures({"validation": answers.energy}, energies, threshold)
    return {
        "train_accuracy": train_accuracy,
        "validation_accuracy": accuracy,
        "gap": train_accuracy - accuracy,
        "rough_accuracy": float(np.mean([right(model, copy, some.labels) for copy in copies])),
        "unfamiliar_auroc": figures.auroc["validation"],
    }
