"""The second view: if the model is unsure of a picture, its mirror image is computed, too.

It changes only the probabilities. The energy, and so whether a picture is unfamiliar, comes from
the first view, because the threshold was measured on first views.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

Floats = NDArray[np.float32]
Images = NDArray[np.uint8]

# Of all views that follow the first. `skipped`: there was no time for them.
SecondView = Literal["none", "computed", "skipped"]


class SecondViewRule(BaseModel, frozen=True):
    """Which pictures have a second view, as the model's file and card state it.

    Attributes:
        kind: how the second view differs from the first.
        below: a picture has one if its highest probability is under this.
        temperature: divisor of the logarithms of the mean of both views' probabilities.
    """

    kind: Literal["mirror"]
    below: float = Field(gt=0, le=1)
    temperature: float = Field(gt=0)


class SecondViews(NamedTuple):
    """The probabilities of a batch, (batch, classes), and what became of each second view."""

    probabilities: Floats
    second: list[SecondView]


def look_again(
    rule: SecondViewRule | None,
    images: Images,
    first: Floats,
    compute: Callable[[Images], Floats] | None,
) -> SecondViews:
    """Gives the pictures of a batch that need one a second view.

    Args:
        rule: which pictures that are; None for none.
        images: uint8 (batch, height, width, 3).
        first: the probabilities of the first view, (batch, classes).
        compute: returns the probabilities of pictures; None to skip all second views.
    """
    second: list[SecondView] = ["none"] * len(images)
    if rule is None:
        return SecondViews(first, second)
    unsure = np.flatnonzero(first.max(axis=1) < rule.below)
    for number in unsure.tolist():
        second[number] = "skipped" if compute is None else "computed"
    if compute is None or not len(unsure):
        return SecondViews(first, second)
    both = ((first[unsure] + compute(mirrored(images[unsure]))) / 2) ** (1 / rule.temperature)
    probabilities = first.copy()
    probabilities[unsure] = both / both.sum(axis=1, keepdims=True)
    return SecondViews(probabilities, second)


def mirrored(images: Images) -> Images:
    """The mirror image of each picture, uint8 (batch, height, width, 3)."""
    return np.ascontiguousarray(images[:, :, ::-1])
