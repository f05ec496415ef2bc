"""A picture as phones and cameras write it is classified as its JPEG is.

Only where the model is undecided between two classes may the noise of a lossy format decide.
"""

from pathlib import Path

import numpy as np
import pytest

from service.inference.classifier import Classifier
from tests.benchmark import formats
from tests.benchmark.formats import MARGIN, REFERENCE, WRITTEN, Views

CIFAR10 = Path("tests/data/cifar10/test")
# How far from the picture the model's pixels may be, of 0..255: on average with their signs, in
# each colour; without them; at most. Pillow's encoder of AVIF rounds chroma down.
BIAS, MEAN, MOST = 0.1, 0.4, 4
AVIF_BIAS, AVIF_MEAN = 0.7, 0.7


@pytest.fixture(scope="module")
def views() -> dict[str, Views]:
    paths = [*sorted(CIFAR10.glob("*/*.jpg")), Path("tests/data/cat.jpg")]
    return formats.look(Classifier.open(provider="cpu"), formats.read(paths[::2], (320, 240)))


@pytest.mark.parametrize("name", WRITTEN)
def test_first_class_is_that_of_the_jpeg(views: dict[str, Views], name: str) -> None:
    reference = views[REFERENCE]
    decided = reference.margin > MARGIN
    assert decided.mean() > 0.5
    np.testing.assert_array_equal(views[name].first[decided], reference.first[decided])


@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "TIFF"])
def test_pixels_are_those_of_the_picture(views: dict[str, Views], name: str) -> None:
    is_avif = name.startswith("AVIF")
    apart = views[name].pixels - views["TIFF"].pixels
    assert np.abs(apart.mean((0, 1, 2))).max() <= (AVIF_BIAS if is_avif else BIAS)
    assert np.abs(apart).mean() <= (AVIF_MEAN if is_avif else MEAN)
    assert np.abs(apart).max() <= MOST
