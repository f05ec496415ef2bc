"""What each part of a preset gives: the preset with one thing removed or changed at a time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training import evaluate, export, fit, robustness, unfamiliar
from training.config import (
    BASELINE,
    DEFAULT,
    ArticleNetwork,
    Augmentation,
    Preset,
    WhitenedNetwork,
)
from training.data import DataSet, Split
from training.errors import TrainingError
from training.run import Run

# Few pictures and many passes: a short schedule in which over-fitting shows, which is what
# dropout, L2 and augmentation are there against.
TRAIN_PICTURES = 10_000
EPOCHS = 8
ROUGH_PICTURES = 1_000
PLAIN = Augmentation(flip="none", shift=0)


def _article(**changes: Any) -> Preset:  # noqa: ANN401
    return replace(BASELINE, epochs=EPOCHS, network=replace(ArticleNetwork(), **changes))


def _default(**changes: Any) -> Preset:  # noqa: ANN401
    treatment = {key: changes.pop(key) for key in list(changes) if hasattr(PLAIN, key)}
    how = replace(DEFAULT.augmentation, **treatment)
    return replace(DEFAULT, epochs=EPOCHS, augmentation=how, **changes)


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
        "Adam in place of Muon": _default(optimizer="adam", learning_rate=2e-3),
        "ReLU in place of SiLU": _default(network=WhitenedNetwork(extra=1, activation="relu")),
        "no seventh convolution": _default(network=WhitenedNetwork()),
        "full size throughout": _default(growth=()),
        "no label smoothing": _default(label_smoothing=0.0),
        "random flips": _default(flip="random"),
        "no zoom, tint or degradation": _default(zoom=0.0, tint=0.0, degrade=0.0),
        "no cutout": _default(cutout=0),
        "no outliers": _default(outliers=0.0),
    },
}


def ablate(name: str, data: DataSet, folder: Path, *, seed: int = 0) -> pd.DataFrame:
    """Train every variant on the short schedule; a second call goes on where one was killed.

    Args:
        name: of the preset.
        data: the splits; the first 10,000 training pictures are used.
        folder: holds a run for each variant, and the table as `ablation.csv`.
        seed: of every variant.

    Returns:
        One row for each variant: `parameters`, `train_accuracy` (without dropout and
        augmentation), `validation_accuracy`, their difference `gap`, `rough_accuracy` (of 1,000
        validation pictures blurred, noisy, and encoded once more), and `unfamiliar_auroc`.

    Raises:
        TrainingError: the preset has no variants, or the folder holds runs of other ones.
    """
    if name not in VARIANTS:
        raise TrainingError(f"{name} has no variants; choose one of {', '.join(VARIANTS)}")
    few = Split(data.train.images[:TRAIN_PICTURES], data.train.labels[:TRAIN_PICTURES])
    data = replace(data, train=few)
    rows = {}
    for variant, preset in VARIANTS[name].items():
        print(f"{variant}:")
        run = folder / variant.replace(" ", "-").replace(",", "")
        try:
            model = fit.fit(preset, data, run, seed=seed, resume=True)
        except TrainingError as error:
            raise TrainingError(f"{error}; or delete {folder} to start anew") from None
        rows[variant] = {"parameters": model.count_params(), **_measured(Run(run), preset, data)}
    table = pd.DataFrame(rows).T.rename_axis("variant").astype({"parameters": int})
    table.to_csv(folder / "ablation.csv")
    return table


def _measured(run: Run, preset: Preset, data: DataSet) -> dict[str, float]:
    model = run.folder / "model.onnx"
    threshold = export.export(
        run, data.validation, model, name="ablation", version=1
    ).energy_threshold
    validation = data.validation
    answers = evaluate.predict(model, validation.images)
    accuracy = float(np.mean(answers.probabilities.argmax(axis=1) == validation.labels))
    train_accuracy = _accuracy(model, data.train.images, data.train.labels)
    some, labels = validation.images[:ROUGH_PICTURES], validation.labels[:ROUGH_PICTURES]
    copies = (
        robustness.changed(some, "blur", 5),
        robustness.changed(some, "noise", 5),
        robustness.encoded(some, 40),
    )
    others = unfamiliar.energies(model, preset.image_size, preset.resize)
    figures = unfamiliar.figures({"validation": answers.energy}, others, threshold)
    return {
        "train_accuracy": train_accuracy,
        "validation_accuracy": accuracy,
        "gap": train_accuracy - accuracy,
        "rough_accuracy": float(np.mean([_accuracy(model, copy, labels) for copy in copies])),
        "unfamiliar_auroc": figures["auroc"]["validation"],
    }


def _accuracy(model: Path, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> float:
    return float(np.mean(evaluate.predict(model, images).probabilities.argmax(axis=1) == labels))
