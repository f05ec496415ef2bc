"""The closer look: of a picture with many pixels, the square in its middle is computed too.

A photograph often shows more than its subject. Such a picture has four views: the whole and the
square, each also mirrored. Its probabilities and its energy are the means of the four.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from training.data import pictures
from training.data.picture_files import scaling
from training.data.pictures import Picture
from training.figures import Figures
from training.measure import second_view
from training.measure.predict import Predictions, predict
from training.measure.second_view import SecondView, mirrored
from training.presets import ResizeRule

Images = npt.NDArray[np.uint8]


class CloserLook(Figures):
    """Which pictures have a closer look; in the metadata of the file.

    Attributes:
        kind: what is computed beside the whole picture: the square in its middle.
        times: a picture has one if its sides have at least this many times the model's pixels.
        share: side of the square, as a share of the picture's shorter side.
    """

    kind: Literal["square"] = "square"
    times: float = 4.0
    share: float = 0.8

    def parts(self, picture: Picture, size: int) -> list[scaling.Box]:
        """The parts of a picture that are computed: the whole, and the square if it has one."""
        if picture.shorter < self.times * size:
            return [picture.box]
        return [picture.box, scaling.middle_square(picture.box, self.share)]


@dataclass(frozen=True)
class Uploads:
    """Pictures of any size, brought to the size of a network.

    Attributes:
        images: the whole pictures, uint8 (N, size, size, 3).
        close: which of them have a closer look (N,).
        squares: the squares of those, uint8 (M, size, size, 3).
    """

    images: Images
    close: npt.NDArray[np.bool_]
    squares: Images


def read(files: Sequence[Path], size: int, rule: ResizeRule, look: CloserLook | None) -> Uploads:
    """Read pictures of any size.

    Args:
        files: at least one.
        size: height and width that they are brought to.
        rule: how they are brought to it.
        look: which of them have a closer look; None for none.

    Raises:
        TrainingError: a file is no picture.
    """

    def parts(picture: Picture) -> list[scaling.Box]:
        return look.parts(picture, size) if look else [picture.box]

    found = [pictures.read_parts(path, size, rule, parts) for path in files]
    squares = [square for _, *further in found for square in further]
    return Uploads(
        np.stack([whole for whole, *_ in found]),
        np.array([len(views) > 1 for views in found]),
        np.stack(squares) if squares else np.empty((0, size, size, 3), np.uint8),
    )


def as_served(rule: SecondView | None, model: Path, uploads: Uploads) -> Predictions:
    """The answers of a file: with closer looks, and second views of the other pictures.

    Args:
        rule: of second views; None where the file has none.
        model: the ONNX file.
        uploads: the pictures.
    """
    images, close = uploads.images, uploads.close
    first = predict(model, images)
    probabilities, energy = first.probabilities.copy(), first.energy.copy()
    if not close.all():
        others = Predictions(probabilities[~close], energy[~close])
        served = second_view.as_served(rule, model, images[~close], others)
        probabilities[~close] = served.probabilities
    if close.any():
        further = (mirrored(images[close]), uploads.squares, mirrored(uploads.squares))
        views = [Predictions(probabilities[close], energy[close])]
        views += [predict(model, view) for view in further]
        probabilities[close] = np.mean([view.probabilities for view in views], axis=0)
        energy[close] = np.mean([view.energy for view in views], axis=0)
    return Predictions(probabilities, energy)
