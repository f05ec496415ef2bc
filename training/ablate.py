"""The article's claims, tested: the baseline with one thing removed or changed at a time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from training import fit
from training.config import BASELINE, ArticleNetwork, Augmentation, Preset
from training.data import DataSet, Split
from training.errors import TrainingError

# Few pictures and many passes: a short schedule in which over-fitting shows, which is what
# dropout, L2 and augmentation are there against.
TRAIN_PICTURES = 10_000
SCHEDULE = replace(BASELINE, epochs=8)
PLAIN = Augmentation(flip="none", shift=0)


def _network(**changes: Any) -> Preset:  # noqa: ANN401
    return replace(SCHEDULE, network=replace(ArticleNetwork(), **changes))


VARIANTS: dict[str, Preset] = {
    "baseline": SCHEDULE,
    "half the depth": _network(depth=1),
    "no dropout": _network(dropout=0.0, dense_dropout=0.0),
    "no L2": _network(l2=0.0),
    "no augmentation": replace(SCHEDULE, augmentation=PLAIN),
    "no dropout, L2 or augmentation": replace(
        _network(dropout=0.0, dense_dropout=0.0, l2=0.0), augmentation=PLAIN
    ),
    "separable convolutions": _network(convolution="separable"),
    "strides in place of pooling": _network(convolution="strided"),
}


def ablate(data: DataSet, folder: Path, *, seed: int = 0) -> pd.DataFrame:
    """Train every variant on the short schedule; a second call goes on where one was killed.

    Args:
        data: the splits; the first 10,000 training pictures are used.
        folder: holds a run for each variant, and the table as `ablation.csv`.
        seed: of every variant.

    Returns:
        One row for each variant: `parameters`, `train_accuracy` (without dropout and
        augmentation), `validation_accuracy` and their difference, `gap`.
    """
    few = Split(data.train.images[:TRAIN_PICTURES], data.train.labels[:TRAIN_PICTURES])
    data = replace(data, train=few)
    rows = []
    for name, preset in VARIANTS.items():
        print(f"{name}:")
        run = folder / name.replace(" ", "-").replace(",", "")
        try:
            model = fit.fit(preset, data, run, seed=seed, resume=True)
        except TrainingError as error:
            raise TrainingError(f"{error}; or delete {folder} to start anew") from None
        accuracies = [
            float(np.mean(model.predict(split.images, verbose=0).argmax(axis=1) == split.labels))
            for split in (data.train, data.validation)
        ]
        rows.append({"variant": name, "parameters": model.count_params(),
                     "train_accuracy": accuracies[0], "validation_accuracy": accuracies[1],
                     "gap": accuracies[0] - accuracies[1]})  # fmt: skip
    table = pd.DataFrame(rows).set_index("variant")
    table.to_csv(folder / "ablation.csv")
    return table
