"""Makes a small set of class folders to train on: python -m tests.e2e.shapes FOLDER.

Three classes of drawings in many sizes, 40 of each to train with and 10 to test with.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

NAMES = ("cross", "disc", "square")
COUNTS = {"train": 40, "test": 10}


def write(folder: Path) -> None:
    """Writes `train/<class>/<number>.png` and `test/<class>/<number>.png`."""
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for name in NAMES:
            target = folder / split / name
            target.mkdir(parents=True)
            for number in range(count):
                draw(name, rng).save(target / f"{number}.png")


def draw(name: str, rng: np.random.Generator) -> Image.Image:
    """A red disc, a blue square or a green cross of some size, on a picture of some size."""
    size = tuple(rng.integers(40, 120, 2).tolist())
    image = Image.new("RGB", size, tuple(rng.integers(180, 256, 3).tolist()))
    side = int(min(size) * rng.uniform(0.4, 0.8))
    x, y = (int(rng.integers(0, room - side)) for room in size)
    pen = ImageDraw.Draw(image)
    if name == "disc":
        pen.ellipse((x, y, x + side, y + side), fill="darkred")
    elif name == "square":
        pen.rectangle((x, y, x + side, y + side), fill="navy")
    else:
        pen.line((x, y, x + side, y + side), fill="green", width=side // 5)
        pen.line((x, y + side, x + side, y), fill="green", width=side // 5)
    return image


if __name__ == "__main__":
    write(Path(sys.argv[1]))
