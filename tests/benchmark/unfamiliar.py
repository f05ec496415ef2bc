"""How many pictures of nothing that it knows does the served model call unfamiliar?

    python -m tests.benchmark.unfamiliar

Made pictures, 200 of each kind, a fixed seed; the threshold of the card calls 5 % of the familiar
validation pictures unfamiliar, so a model that cannot tell would say 5 % here too.
"""

import io
import math

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from service.classifier import Classification, Classifier

PICTURES = 200
SIDE = 64
RNG = np.random.default_rng(0)


def noise() -> Image.Image:
    """Every pixel at random."""
    return Image.fromarray(RNG.integers(0, 256, (SIDE, SIDE, 3), np.uint8))


def flat() -> Image.Image:
    """One colour."""
    return Image.new("RGB", (SIDE, SIDE), _colour(0, 256))


def letter() -> Image.Image:
    """A dark letter on a light ground."""
    image = Image.new("RGB", (SIDE, SIDE), _colour(150, 256))
    text = chr(int(RNG.integers(ord("A"), ord("Z") + 1)))
    ImageDraw.Draw(image).text((12, 2), text, fill=_colour(0, 100), font_size=52)
    return image


def stripes() -> Image.Image:
    """A grey wave of a random length and direction."""
    y, x = np.mgrid[:SIDE, :SIDE]
    length, angle = RNG.uniform(4, 20), RNG.uniform(0, math.pi)
    phase = (x * math.cos(angle) + y * math.sin(angle)) * 2 * math.pi / length
    return Image.fromarray((np.sin(phase) * 127 + 128).astype(np.uint8)).convert("RGB")


def _colour(low: int, high: int) -> tuple[int, int, int]:
    red, green, blue = RNG.integers(low, high, 3).tolist()
    return red, green, blue


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    """Print a table: share called unfamiliar and mean confidence for each kind."""
    classifier = Classifier.open()
    rows = {}
    for make in (noise, flat, letter, stripes):
        answers = classifier.classify([_png(make()) for _ in range(PICTURES)])
        good = [answer for answer in answers if isinstance(answer, Classification)]
        rows[make.__name__] = {
            "unfamiliar": np.mean([answer.unfamiliar for answer in good]),
            "mean confidence": np.mean([answer.probabilities.max() for answer in good]),
        }
    print(f"{classifier.model.name} {classifier.model.version}, {PICTURES} pictures of each kind")
    print(pd.DataFrame(rows).T.to_string(float_format="{:.1%}".format))


if __name__ == "__main__":
    main()
