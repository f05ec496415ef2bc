"""Label sets: how often the classes of a set hold the right one, and how many they are."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from training.figures import Figures

# For each coverage in 0..1, the least probability with which each class belongs to a set.
Thresholds = Mapping[float, tuple[float, ...]]


class SetFigures(Figures):
    """Figures of the label sets of one file and coverage.

    Attributes:
        coverage: share of the pictures whose right class is in their set.
        worst_class: the class with the smallest such share.
        worst_class_coverage: that share.
        mean_size: classes in a set.
        empty: share of the sets without any class.
        without_second_views: the coverage where all pictures have one view; None where that is
            always so.
    """

    coverage: float
    worst_class: str
    worst_class_coverage: float
    mean_size: float
    empty: float
    without_second_views: float | None = None


def measure(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    thresholds: tuple[float, ...],
    classes: tuple[str, ...],
) -> SetFigures:
    """The figures of the sets of one coverage.

    Args:
        probabilities: as served, (N, classes).
        labels: the right classes (N,).
        thresholds: of the coverage.
        classes: the class names; each has a picture.
    """
    sets = probabilities >= np.array(thresholds, np.float32)
    covered = sets[np.arange(len(labels)), labels]
    of_class = {name: float(covered[labels == number].mean())
                for number, name in enumerate(classes) if number in labels}  # fmt: skip
    worst = min(of_class, key=lambda name: of_class[name])
    sizes = sets.sum(axis=1)
    return SetFigures(
        coverage=float(covered.mean()),
        worst_class=worst,
        worst_class_coverage=of_class[worst],
        mean_size=float(sizes.mean()),
        empty=float(np.mean(sizes == 0)),
    )


def measure_all(
    thresholds: Thresholds,
    served: npt.NDArray[np.float32],
    first: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
) -> dict[float, SetFigures]:
    """The figures of each coverage.

    Args:
        thresholds: by coverage.
        served: the probabilities with second views, (N, classes).
        first: those of the first view; the same array where there are no second views.
        labels: the right classes (N,).
        classes: the class names.
    """
    found = {}
    for coverage, own in thresholds.items():
        figures = measure(served, labels, own, classes)
        if first is not served:
            alone = measure(first, labels, own, classes).coverage
            figures = figures.model_copy(update={"without_second_views": alone})
        found[coverage] = figures
    return found
