"""Accuracy on changed copies of the pictures, such as blurred, noisy or re-encoded ones."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from training.data.dataset import Split
from training.figures import Figures
from training.measure.predict import right

QUALITIES = (90, 60, 40)
# JPEG copies are made of all pictures, the thirty other copies of this many.
PICTURES = 1_000
SEED = 0

Floats = npt.NDArray[np.float32]
Images = npt.NDArray[np.uint8]


class StrengthAccuracy(Figures):
    """Accuracy on copies with one change at one strength.

    Attributes:
        change: its name in `CHANGES`, or `jpeg`.
        strength: 1 to 5; the quality of a JPEG.
        pictures: number of pictures.
        unchanged: accuracy on the same pictures without the change.
        accuracy: accuracy on the copies.
    """

    change: str
    strength: int
    pictures: int
    unchanged: float
    accuracy: float


class ChangeAccuracy(Figures):
    """Accuracy on copies with one change: the mean over its strengths.

    Attributes:
        pictures: number of pictures.
        unchanged: accuracy on the same pictures without the change.
        accuracy: mean accuracy on the copies.
    """

    pictures: int
    unchanged: float
    accuracy: float


def blur(images: Floats, deviation: float) -> Floats:
    """Blur by a Gaussian of a deviation in pixels; edges are repeated."""
    return np.asarray(gaussian_filter(images, (0, deviation, deviation, 0), mode="nearest"))


def _noise(images: Floats, deviation: float) -> Floats:
    rng = np.random.default_rng(SEED)
    return np.asarray(images + deviation * rng.standard_normal(images.shape, np.float32))


def brightness(images: Floats, added: float) -> Floats:
    """Add to V in HSV, which keeps hue and saturation."""
    value = images.max(axis=-1, keepdims=True)
    # Black has no hue and becomes grey.
    scale = np.where(value > 0, images / np.maximum(value, 1e-6), 1)
    return np.asarray(scale * np.clip(value + added, 0, 1))


def contrast(images: Floats, factor: float) -> Floats:
    """Scale the differences to the mean of each picture and channel."""
    mean = images.mean(axis=(1, 2), keepdims=True)
    return np.asarray((images - mean) * factor + mean)


# Five strengths of each change. They are those of CIFAR-10-C (Hendrycks and Dietterich, 2019) where
# it has the change, else the same amounts in the other direction. The blur is in pixels, noise and
# brightness in shares of full scale, contrast a factor.
CHANGES: dict[str, tuple[Callable[[Floats, float], Floats], tuple[float, ...]]] = {
    "blur": (blur, (0.4, 0.6, 0.7, 0.8, 1.0)),
    "noise": (_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "brighter": (brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "darker": (brightness, (-0.05, -0.1, -0.15, -0.2, -0.3)),
    "less_contrast": (contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "more_contrast": (contrast, (1 / 0.75, 1 / 0.5, 1 / 0.4, 1 / 0.3, 1 / 0.15)),
}


def changed(images: Images, change: str, strength: int) -> Images:
    """Copies of uint8 pictures (N, H, W, 3) with one of `CHANGES` at a strength of 1 to 5."""
    function, amounts = CHANGES[change]
    result = function(np.divide(images, 255, dtype=np.float32), amounts[strength - 1])
    return np.rint(np.clip(result, 0, 1) * 255).astype(np.uint8)


def encoded(images: Images, quality: int) -> Images:
    """Copies of pictures after encoding as JPEG of a quality (1..95) and decoding."""
    copies = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        copies.append(np.asarray(Image.open(buffer)))
    return np.stack(copies)


def measure(model: Path, split: Split) -> list[StrengthAccuracy]:
    """Accuracy of an exported file on copies of a split, for each change and strength."""
    unchanged = right(model, split.images, split.labels)
    rows = [
        _row("jpeg", quality, unchanged, right(model, encoded(split.images, quality), split.labels))
        for quality in QUALITIES
    ]
    some = np.random.default_rng(SEED).permutation(len(split))[:PICTURES]
    images, labels = split.images[some], split.labels[some]
    for change, (_, amounts) in CHANGES.items():
        for strength in range(1, len(amounts) + 1):
            answers = right(model, changed(images, change, strength), labels)
            rows.append(_row(change, strength, unchanged[some], answers))
    return rows


def means(rows: list[StrengthAccuracy]) -> dict[str, ChangeAccuracy]:
    """The card's figures: the mean over the strengths of each change, each JPEG quality alone."""
    table = pd.DataFrame([dict(row) for row in rows])
    names = table["change"].where(
        table["change"] != "jpeg", "jpeg_" + table["strength"].astype(str)
    )
    grouped = table.groupby(names, sort=False)
    return {
        str(change): ChangeAccuracy(
            pictures=int(group["pictures"].iloc[0]),
            unchanged=float(group["unchanged"].iloc[0]),
            accuracy=round(float(group["accuracy"].mean()), 6),
        )
        for change, group in grouped
    }


def _row(
    change: str, strength: int, unchanged: npt.NDArray[np.bool_], answers: npt.NDArray[np.bool_]
) -> StrengthAccuracy:
    return StrengthAccuracy(
        change=change,
        strength=strength,
        pictures=len(answers),
        unchanged=float(unchanged.mean()),
        accuracy=float(answers.mean()),
    )
