"""Random changes to training pictures, in NumPy so that every Keras backend can use them."""

import numpy as np
import numpy.typing as npt

Pictures = npt.NDArray[np.uint8]


def flip(images: Pictures, rng: np.random.Generator) -> Pictures:
    """Mirror about half of the pictures, shape (batch, height, width, 3)."""
    mirrored = rng.random(len(images)) < 0.5
    return np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def shift(images: Pictures, rng: np.random.Generator, pixels: int) -> Pictures:
    """Move each picture by up to `pixels` in both directions; edges are reflected."""
    batch, height, width, _ = images.shape
    pad = (pixels, pixels)
    padded = np.pad(images, ((0, 0), pad, pad, (0, 0)), mode="reflect")
    top, left = rng.integers(0, 2 * pixels + 1, (2, batch, 1))
    rows = top + np.arange(height)
    columns = left + np.arange(width)
    moved: Pictures = padded[np.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved
