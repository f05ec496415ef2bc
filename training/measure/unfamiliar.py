"""How well the energy separates the pictures of a split from out-of-distribution pictures."""

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.data import pictures
from training.figures import Figures
from training.measure import intervals
from training.measure.intervals import Estimate
from training.measure.predict import predict
from training.measure.unfamiliar_pictures import kinds, photographs
from training.presets import ResizeRule

KINDS = tuple(kinds.KINDS)
PICTURES = 300  # of each kind

# Tiles of one photograph are much alike: their number says less than that of the photographs.
SOURCES = {"photographs": len(photographs.NAMES)}

Energies = npt.NDArray[np.float32]


class KindFigures(Figures):
    """Figures of one kind of out-of-distribution pictures.

    Attributes:
        pictures: number of pictures of the kind.
        under_threshold: share of them with an energy under the threshold.
        auroc: for each split, the probability that a picture of the split has more energy than
            one of the kind.
    """

    pictures: int
    under_threshold: float
    auroc: dict[str, float]


class UnfamiliarFigures(Figures):
    """Figures of all kinds of out-of-distribution pictures.

    Attributes:
        pictures: number of pictures of all kinds.
        auroc: for each split, the mean over kinds.
        under_threshold: the mean over kinds.
        per_kind: by the name of the kind.
    """

    pictures: int
    auroc: dict[str, float]
    under_threshold: float
    per_kind: dict[str, KindFigures]


def estimates(kind: str, figures: KindFigures, familiar: int) -> tuple[Estimate, list[Estimate]]:
    """The share under the threshold and the AUROC for each split, with their intervals.

    Args:
        kind: its name.
        figures: of the kind.
        familiar: pictures of the smallest split.
    """
    sources = min(figures.pictures, SOURCES.get(kind, figures.pictures))

    def estimate(value: float, interval: tuple[float, float]) -> Estimate:
        return Estimate(value=value, low=interval[0], high=interval[1], pictures=sources)

    share = figures.under_threshold
    return estimate(share, intervals.wilson(share, sources)), [
        estimate(area, intervals.hanley(area, familiar, sources)) for area in figures.auroc.values()
    ]


def energies(model: Path, size: int, rule: ResizeRule) -> dict[str, Energies]:
    """Energies of an exported file for out-of-distribution pictures, resized as in the service.

    Returns:
        The energy of each picture, float32 (pictures,), for each of `kinds.KINDS`.
    """
    return {kind: predict(model, _pictures(kind, PICTURES, size, rule)).energy for kind in KINDS}


@cache  # made once for all files of a process
def _pictures(kind: str, count: int, size: int, rule: ResizeRule) -> npt.NDArray[np.uint8]:
    resized = [pictures.resize(image, size, rule) for image in kinds.pictures(kind, count)]
    return np.stack([np.asarray(image) for image in resized])


def figures(
    familiar: dict[str, Energies], unfamiliar: dict[str, Energies], threshold: float
) -> UnfamiliarFigures:
    """The card's figures.

    Args:
        familiar: the energies of each split.
        unfamiliar: the energies of each kind of out-of-distribution pictures.
        threshold: pictures under it are called unfamiliar.
    """
    per_kind = {
        kind: KindFigures(
            pictures=len(energy),
            under_threshold=float(np.mean(energy < threshold)),
            auroc={split: intervals.area(known, energy).value for split, known in familiar.items()},
        )
        for kind, energy in unfamiliar.items()
    }
    every = per_kind.values()
    return UnfamiliarFigures(
        pictures=sum(map(len, unfamiliar.values())),
        auroc={split: float(np.mean([kind.auroc[split] for kind in every])) for split in familiar},
        under_threshold=float(np.mean([kind.under_threshold for kind in every])),
        per_kind=per_kind,
    )
