"""Computes a batch of pictures: the first view of each, and the further ones of some."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.inference.decoding import ImageFacts
from service.inference.second_view import (
    Floats,
    Images,
    SecondView,
    SecondViewRule,
    look_again,
    mirrored,
)


class Decoded(NamedTuple):
    """A picture at the model's size, uint8 (height, width, 3), and the facts of its upload.

    `square` is the square in its middle, at the same size, if it has a closer look.
    """

    pixels: NDArray[np.uint8]
    facts: ImageFacts
    square: NDArray[np.uint8] | None = None


class Views(NamedTuple):
    """The combined results of all views of the pictures in a batch.

    Attributes:
        probabilities: (batch, classes).
        energies: (batch,).
        further: what became of the views that follow the first, for each picture.
    """

    probabilities: Floats
    energies: Floats
    further: list[SecondView]


def compute_views(
    rule: SecondViewRule | None,
    pictures: Sequence[Decoded],
    run: Callable[[Images], tuple[Floats, Floats]],
    *,
    in_haste: bool,
) -> Views:
    """Computes a batch: closer looks at the pictures with a square, second views of the others.

    Args:
        rule: which pictures have a second view; None for none.
        pictures: at least one.
        run: returns probabilities and energies of pictures, uint8 (batch, height, width, 3); it is
            never given more than there are in `pictures`.
        in_haste: compute the first views alone.
    """
    images = np.stack([picture.pixels for picture in pictures])
    first, energies = run(images)
    close = np.array([picture.square is not None for picture in pictures])
    compute = None if in_haste else lambda images: run(images)[0]
    if not close.any():
        probabilities, further = look_again(rule, images, first, compute)
        return Views(probabilities, energies, further)
    probabilities, energies = first.copy(), energies.copy()
    further = ["skipped" if in_haste else "computed"] * len(pictures)
    if not close.all():
        again = look_again(rule, images[~close], first[~close], compute)
        probabilities[~close] = again.probabilities
        for number, outcome in zip(np.flatnonzero(~close).tolist(), again.second, strict=True):
            further[number] = outcome
    if not in_haste:
        squares = np.stack([it.square for it in pictures if it.square is not None])
        looks = [run(view) for view in (mirrored(images[close]), squares, mirrored(squares))]
        looks.append((first[close], energies[close]))
        probabilities[close], energies[close] = (
            np.mean(values, axis=0) for values in zip(*looks, strict=True)
        )
    return Views(probabilities, energies, further)
