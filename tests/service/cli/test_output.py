"""Rows of the command line's tables, of made answers."""

from pathlib import Path

import numpy as np
import pytest

from service.cli.output import table
from service.inference.classification import Classification
from service.inference.decoding import ImageFacts


@pytest.mark.parametrize(
    ("share", "first", "second"),
    [
        (1.0, "100.0%", "0.0%"),
        (0.9996, ">99.9%", "<0.1%"),
        (0.9994, "99.9%", "0.1%"),
        (0.5, "50.0%", "50.0%"),
    ],
)
def test_rounding_claims_no_certainty(share: float, first: str, second: str) -> None:
    answer = Classification(
        labels=("cat", "dog"),
        probabilities=np.array([share, 1 - share]),
        ranking=(0, 1),
        energy=1.0,
        unfamiliar=False,
        image=ImageFacts(8, 8, "PNG"),
        pixels=np.zeros((8, 8, 3), np.uint8),
    )
    file = Path("a.png")
    _, row = table([file], answer.labels, 2, None)
    assert row(file, answer) == f"a.png  cat {first:>6}  dog {second:>6}\n"
