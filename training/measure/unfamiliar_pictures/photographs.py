"""Tiles of photographs that come with the libraries."""

from functools import cache, partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_image

from training.measure.unfamiliar_pictures.canvas import Maker, Rng


@cache
def shipped(name: str) -> Image.Image:
    """A picture that comes with scikit-learn, Matplotlib or scikit-image."""
    if name in ("china.jpg", "flower.jpg"):
        return Image.fromarray(load_sample_image(name))
    if name == "grace_hopper.jpg":
        return Image.open(Path(mpl.get_data_path()) / "sample_data" / name).convert("RGB")
    loaded = getattr(skimage.data, name)()
    return Image.fromarray(loaded[0] if isinstance(loaded, tuple) else loaded).convert("RGB")


def tile(rng: Rng, photograph: Image.Image, size: int) -> Image.Image:
    """A random part that is not flat: at least 3/4 of `size` wide and high, at most 4:3."""
    while True:
        sides = rng.uniform(size, min(photograph.size)) * rng.uniform(0.75, 1, 2)
        left, top = rng.uniform(0, 1, 2) * (photograph.size - sides)
        box = tuple(map(round, (left, top, left + sides[0], top + sides[1])))
        tile = photograph.crop(box)
        if np.asarray(tile).std(axis=(0, 1)).max() > 5:
            return tile


def _photograph(name: str, rng: Rng, size: int) -> Image.Image:
    return tile(rng, shipped(name), size)


# Without those of a cat and of a horse, which are classes of CIFAR-10.
NAMES = (
    "astronaut", "camera", "china.jpg", "coffee", "coins", "flower.jpg", "grace_hopper.jpg",
    "hubble_deep_field", "immunohistochemistry", "moon", "retina", "rocket", "stereo_motorcycle",
)  # fmt: skip


MAKERS: tuple[Maker, ...] = tuple(partial(_photograph, name) for name in NAMES)
