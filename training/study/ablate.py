"""Ablation: trains a preset with one part removed or changed at a time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.data.dataset import DataSet, Split
from training.errors import TrainingError
from training.export import to_onnx
from training.measure import robustness, unfamiliar
from training.measure.predict import predict
from training.presets import (
    BASELINE,
    DEFAULT,
    ArticleNetwork,
    Augmentation,
    Preset,
    WhitenedNetwork,
)
from training.train import fit
from training.train.checkpoint import Run

# Few pictures and many passes, so that overfitting shows: dropout, L2 and augmentation reduce it.
TRAIN_PICTURES = {BASELINE.name: 10_000, DEFAULT.name: 2_000}
BASELINE_EPOCHS = 8  # the variants of `default` have as many as the preset
ROUGH_PICTURES = 1_000
# Variants closer to the preset than this in validation accuracy are trained with more seeds.
CLOSE = 0.01
SEEDS = 3
PLAIN = Augmentation(flip="none", shift=0)


def _article(**changes: Any) -> Preset:  # noqa: ANN401
    network = replace(ArticleNetwork(), **changes)
    return replace(BASELINE, epochs=BASELINE_EPOCHS, network=network)


def _default(**changes: Any) -> Preset:  # noqa: ANN401
    treatment = {key: changes.pop(key) for key in list(changes) if hasattr(PLAIN, key)}
    how = replace(DEFAULT.augmentation, **treatment)
    return replace(DEFAULT, augmentation=how, **changes)


def _slug(variant: str) -> str:
    return variant.replace(" ", "-").replace(",", "")


WIDER, TAUGHT = "half as wide again", "taught by that"
# More seeds of both would take as long as all other variants together.
ONE_SEED = {WIDER, TAUGHT}
VARIANTS: dict[str, dict[str, Preset]] = {
    BASELINE.name: {
        "baseline": _article(),
        "half the depth": _article(depth=1),
        "no dropout": _article(dropout=0.0, dense_dropout=0.0),
        "no L2": _article(l2=0.0),
        "no augmentation": replace(_article(), augmentation=PLAIN),
        "no dropout, L2 or augmentation": replace(
            _article(dropout=0.0, dense_dropout=0.0, l2=0.0), augmentation=PLAIN
        ),
        "separable convolutions": _article(convolution="separable"),
        "strides in place of pooling": _article(convolution="strided"),
    },
    DEFAULT.name: {
        "default": _default(),
        "no cutout": _default(cutout=0),
        "no zoom, tint or degradation": _default(zoom=0.0, tint=0.0, degrade=0.0),
        "ReLU in place of SiLU": _default(network=WhitenedNetwork(extra=1, activation="relu")),
        "no seventh convolution": _default(network=WhitenedNetwork()),
        "full size throughout": _default(growth=()),
        "no label smoothing": _default(label_smoothing=0.0),
        "random flips": _default(flip="random"),
        "no outliers": _default(outliers=0.0),
        "Adam in place of Muon": _default(optimizer="adam", learning_rate=2e-3),
        "twice the epochs": _default(epochs=2 * DEFAULT.epochs),
        WIDER: _default(network=WhitenedNetwork(widths=(96, 384, 384), extra=1)),
        TAUGHT: _default(teacher=_slug(WIDER)),
    },
}


def ablate(name: str, data: DataSet, folder: Path, *, seed: int = 0) -> pd.DataFrame:
    """Train every variant on few pictures; a further call continues one that was interrupted.

    The preset and the variants close to it are trained with three seeds, apart from `ONE_SEED`.

    Args:
        name: of the preset.
        data: the splits; the first `TRAIN_PICTURES` training pictures are used.
        folder: gets a run for each variant and seed, and the table as `ablation.csv`.
        seed: the first seed.

    Returns:
        One row for each variant, means over its `seeds`: `parameters`, `train_accuracy` (without
        dropout and augmentation), `validation_accuracy`, its standard deviation `spread` (none for
        a single seed), the difference `gap` of the two accuracies, `rough_accuracy` (on blurred,
        noisy and re-encoded copies of 1,000 validation pictures), and `unfamiliar_auroc`.

    Raises:
        TrainingError: the preset has no variants, or the folder holds runs with other settings.
    """
    if name not in VARIANTS:
        raise TrainingError(f"{name} has no variants; choose one of {', '.join(VARIANTS)}")
    data = replace(data, train=_first(data.train, TRAIN_PICTURES[name]))
    variants = VARIANTS[name]

    def train(variant: str, seed: int) -> dict[str, float]:
        return _train(variants[variant], data, folder / f"{_slug(variant)}-seed{seed}", seed)

    figures = {variant: [train(variant, seed)] for variant in variants}
    first = figures[next(iter(variants))][0]["validation_accuracy"]
    for further in range(seed + 1, seed + SEEDS):
        for variant, measured in figures.items():
            close = abs(measured[0]["validation_accuracy"] - first) < CLOSE
            if close and variant not in ONE_SEED:
                measured.append(train(variant, further))
    table = pd.DataFrame({variant: _row(measured) for variant, measured in figures.items()}).T
    table = table.rename_axis("variant").astype({"parameters": int, "seeds": int})
    table.to_csv(folder / "ablation.csv")
    return table


def _first(split: Split, count: int) -> Split:
    return Split(split.images[:count], split.labels[:count])


def _train(preset: Preset, data: DataSet, run: Path, seed: int) -> dict[str, float]:
    print(f"{run.name}:")
    try:
        # Validation on the whole split would take longer than an epoch on so few pictures.
        brief = replace(data, validation=_first(data.validation, ROUGH_PICTURES))
        model = fit.fit(preset, brief, run, seed=seed, resume=True)
    except TrainingError as error:
        raise TrainingError(f"{error}; or delete {run.parent} to start again") from None
    return {"parameters": model.count_params(), **_measured(Run(run), preset, data)}


def _row(measured: list[dict[str, float]]) -> pd.Series:
    table = pd.DataFrame(measured)
    row = table.mean()
    row["spread"] = table["validation_accuracy"].std()
    row["seeds"] = len(table)
    return row


def _measured(run: Run, preset: Preset, data: DataSet) -> dict[str, float]:
    model = run.folder / "model.onnx"
    threshold = to_onnx.export(
        run, data.validation, model, name="ablation", version=1
    ).energy_threshold
    validation = data.validation
    answers = predict(model, validation.images)
    accuracy = float(np.mean(answers.probabilities.argmax(axis=1) == validation.labels))
    train_accuracy = _accuracy(model, data.train.images, data.train.labels)
    some = _first(validation, ROUGH_PICTURES)
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
        "rough_accuracy": float(np.mean([_accuracy(model, copy, some.labels) for copy in copies])),
        "unfamiliar_auroc": figures.auroc["validation"],
    }


def _accuracy(model: Path, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> float:
    return float(np.mean(predict(model, images).probabilities.argmax(axis=1) == labels))
