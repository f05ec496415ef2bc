"""Measures which resize rule suits a network, on pictures of the size of photographs.

The data have no such pictures, so they are made of validation pictures: enlarged, framed, with
noise and JPEG encoding as of a camera. They have no finer detail than the small pictures.
"""

import io
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, ImageFilter
from sklearn.metrics import recall_score
from tqdm import tqdm

from training.data import pictures
from training.data.dataset import Split
from training.measure.predict import predict
from training.presets import ResizeFilter, ResizeMode, ResizeRule

FRAMES = ((500, 375), (375, 500), (640, 360), (400, 400))  # width, height
# filled: the picture is stretched over the whole frame.
# blurred, other: the picture is a square in front of its blurred copy or of another picture.
SCENES = ("filled", "blurred", "other")
PICTURES = 1_000
RULES = [ResizeRule(mode, filter_) for mode in get_args(ResizeMode)
         for filter_ in get_args(ResizeFilter)]  # fmt: skip
SEED = 0

Rng = np.random.Generator


def scene(kind: str, image: Image.Image, other: Image.Image, rng: Rng) -> Image.Image:
    """A picture of the size of a photograph that shows a small one.

    Args:
        kind: one of `SCENES`.
        image: the small RGB picture.
        other: the background of the scene `other`.
        rng: source of frame, position, size and noise.
    """
    width, height = FRAMES[rng.integers(len(FRAMES))]
    enlarge = Image.Resampling.LANCZOS if rng.random() < 0.5 else Image.Resampling.BICUBIC
    large = (other if kind == "other" else image).resize((width, height), enlarge)
    if kind == "blurred":
        large = large.filter(ImageFilter.GaussianBlur(min(width, height) / 12))
    if kind != "filled":
        side = round(min(width, height) * rng.uniform(0.6, 1))
        left, top = rng.integers(0, [width - side + 1, height - side + 1]).tolist()
        large.paste(image.resize((side, side), enlarge), (left, top))
    noisy = np.asarray(large) + rng.uniform(2, 6) * rng.standard_normal(
        (height, width, 3), np.float32
    )
    buffer = io.BytesIO()
    taken = Image.fromarray(np.rint(np.clip(noisy, 0, 255)).astype(np.uint8))
    taken.save(buffer, "JPEG", quality=90)
    return Image.open(buffer).convert("RGB")


def measure(model: Path, split: Split, size: int) -> pd.DataFrame:
    """Accuracy of an exported file under each resize rule.

    Args:
        model: the ONNX file.
        split: the validation split; 1,000 of its pictures are used.
        size: height and width of the network's input.

    Returns:
        One row for each mode and filter, the best first: the accuracy on each of `SCENES`, over
        all of them as `accuracy`, and the same as `mean_over_classes`.
    """
    chosen = np.random.default_rng(SEED).permutation(len(split))[:PICTURES]
    labels = split.labels[chosen]
    rows: list[dict[str, float]] = [{} for _ in RULES]
    right: list[list[npt.NDArray[np.int64]]] = [[] for _ in RULES]
    for kind in SCENES:
        inputs = _inputs(kind, split.images[chosen], size)
        for rule in range(len(RULES)):
            answers = predict(model, inputs[rule]).probabilities.argmax(axis=1)
            rows[rule][kind] = float(np.mean(answers == labels))
            right[rule].append(answers)
    every = np.tile(labels, len(SCENES))
    for row, answers_of in zip(rows, right, strict=True):
        answers = np.concatenate(answers_of)
        row["accuracy"] = float(np.mean(answers == every))
        recall = recall_score(every, answers, labels=np.unique(labels), average="macro")
        row["mean_over_classes"] = float(recall)
    names = pd.MultiIndex.from_tuples([(rule.mode, rule.filter) for rule in RULES])
    table = pd.DataFrame(rows, index=names.set_names(["mode", "filter"]))
    return table.sort_values("mean_over_classes", ascending=False)


def _inputs(kind: str, images: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """The scenes of all pictures by each of `RULES`, uint8 (rules, N, size, size, 3)."""
    inputs = np.empty((len(RULES), len(images), size, size, 3), np.uint8)
    pause = 0.2 if sys.stderr.isatty() else 60
    bar = tqdm(images, desc=kind, unit="picture", mininterval=pause, leave=False)
    for number, image in enumerate(bar):
        rng = np.random.default_rng((SEED, SCENES.index(kind), number))
        other = images[number - 1]
        large = scene(kind, Image.fromarray(image), Image.fromarray(other), rng)
        for rule, row in zip(RULES, inputs, strict=True):
            row[number] = np.asarray(pictures.resize(large, size, rule))
    return inputs
