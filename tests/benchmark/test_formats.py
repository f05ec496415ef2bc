"""What is said of formats."""

import numpy as np

from tests.benchmark import formats
from tests.benchmark.formats import REFERENCE, Views


def views(*probabilities: list[float], shift: int = 0) -> Views:
    """Of grey pictures; the first class is the one of the highest probability."""
    all_ = np.array(probabilities)
    top = -np.sort(-all_, axis=1)[:, :2]
    pixels = np.full((len(all_), 2, 2, 3), 100 + shift, np.int16)
    return Views(pixels, all_.argmax(axis=1), top)


def test_row_counts_the_same_classes_and_those_of_which_the_jpeg_is_sure() -> None:
    seen = {
        REFERENCE: views([0.9, 0.05, 0.05], [0.4, 0.35, 0.25]),
        "HEIC 80": views([0.9, 0.05, 0.05], [0.35, 0.4, 0.25], shift=-2),
        "TIFF": views([0.9, 0.05, 0.05], [0.4, 0.35, 0.25]),
    }
    _, heic, tiff = formats.rows(seen)
    assert heic.startswith("| HEIC 80 | 50.0% (")
    assert heic.count("100.0% (") == 2
    assert heic.endswith("| 0.05 | 2.00, 2 | -2.00 -2.00 -2.00 |")
    assert tiff.count("100.0% (") == 3
    assert tiff.endswith("| 0.00 | 0.00, 0 | +0.00 +0.00 +0.00 |")
