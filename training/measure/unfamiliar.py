"""How well the energy tells the pictures of a split from pictures of other things."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from training.data import pictures
from training.measure import metrics, unfamiliar_pictures
from training.presets import ResizeRule

PICTURES = 300  # of each kind

Energies = npt.NDArray[np.float32]


def energies(model: Path, size: int, rule: ResizeRule) -> dict[str, Energies]:
    """What an exported file says of pictures of other things, resized as the service does it.

    Returns:
        The energy of each picture, float32 (pictures,), for each of `unfamiliar_pictures.KINDS`.
    """
    found = {}
    for kind in unfamiliar_pictures.KINDS:
        resized = [pictures.resize(image, size, rule)
                   for image in unfamiliar_pictures.pictures(kind, PICTURES)]  # fmt: skip
        found[kind] = metrics.predict(model, np.stack([np.asarray(image) for image in resized]))
    return {kind: answers.energy for kind, answers in found.items()}


def figures(
    familiar: dict[str, Energies], others: dict[str, Energies], threshold: float
) -> dict[str, Any]:
    """The card's figures.

    Args:
        familiar: the energies of each split.
        others: the energies of each kind of other things.
        threshold: pictures under it are called unfamiliar.

    Returns:
        `pictures` of other things; `auroc`, for each split: how probable it is that a picture of
        the split has more energy than one of other things; the share of these `under_threshold`;
        and the same `per_kind`. Those of all kinds are means over kinds.
    """
    per_kind: dict[str, dict[str, Any]] = {
        kind: {
            "pictures": len(energy),
            "under_threshold": float(np.mean(energy < threshold)),
            "auroc": {split: _auroc(known, energy) for split, known in familiar.items()},
        }
        for kind, energy in others.items()
    }
    return {
        "pictures": sum(map(len, others.values())),
        "auroc": {
            split: float(np.mean([kind["auroc"][split] for kind in per_kind.values()]))
            for split in familiar
        },
        "under_threshold": float(np.mean([kind["under_threshold"] for kind in per_kind.values()])),
        "per_kind": per_kind,
    }


def _auroc(familiar: Energies, other: Energies) -> float:
    known = np.repeat([1, 0], [len(familiar), len(other)])
    return float(roc_auc_score(known, np.concatenate([familiar, other])))
