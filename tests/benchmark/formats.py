"""How often a picture has another first class as HEIC, AVIF or TIFF than as JPEG.

    python -m tests.benchmark.formats FOLDER [--size 4032x3024] [--pictures 100]

Each picture of the folder is written in each format, after it was enlarged to the size, with a
camera's noise, if one is given. Prints a table for a README.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.cli import files
from service.inference.classifier import Classifier
from tests.benchmark.pictures import add_noise
from tests.contract.encodings import encode
from training.measure import intervals

# The JPEG that others are compared with, as phones and cameras write it: 4:2:0.
REFERENCE = "JPEG 95"
# HEIC is written as phones do, 4:2:0, BT.601 and in full range; at 80 it has about as many bytes as
# that JPEG. The fastest preset of the encoder takes more bytes for the same quality.
WRITTEN: dict[str, tuple[str, dict[str, Any]]] = {
    REFERENCE: ("JPEG", {"quality": 95}),
    "JPEG 100, 4:4:4": ("JPEG", {"quality": 100, "subsampling": 0}),
    "JPEG 90": ("JPEG", {"quality": 90}),
    "HEIC 80": ("HEIF", {"quality": 80, "chroma": 420, "enc_params": {"preset": "ultrafast"}}),
    "AVIF 90": ("AVIF", {"quality": 90, "speed": 9}),
    "TIFF": ("TIFF", {}),
}
LIMIT = 60_000_000
SURE = 0.5
MARGIN = 0.2


class Views(NamedTuple):
    """What the model sees of some pictures in one format, and what it says.

    Attributes:
        pixels: (pictures, height, width, 3).
        first: the number of the most probable class, (pictures,).
        top: the two highest probabilities, (pictures, 2).
    """

    pixels: NDArray[np.int16]
    first: NDArray[np.int64]
    top: NDArray[np.float64]

    @property
    def margin(self) -> NDArray[np.float64]:
        """By how much the first class is more probable than the second, (pictures,)."""
        difference: NDArray[np.float64] = self.top[:, 0] - self.top[:, 1]
        return difference


def read(paths: Sequence[Path], size: tuple[int, int] | None) -> Iterator[Image.Image]:
    """The pictures in the files, enlarged if there is a size."""
    for number, path in enumerate(paths):
        image = Image.open(path).convert("RGB")
        if size:
            # Portraits stay upright.
            upright = size if image.width >= image.height else size[::-1]
            larger = image.resize(upright, Image.Resampling.BICUBIC)
            noisy = add_noise(np.asarray(larger), np.random.default_rng(number))
            image = Image.fromarray(noisy)
        yield image


def look(classifier: Classifier, images: Iterator[Image.Image]) -> dict[str, Views]:
    """What the model makes of each picture in each format, by the format's name."""
    seen: dict[str, list[tuple[NDArray[np.uint8], list[float]]]] = {name: [] for name in WRITTEN}
    for image in images:
        uploads = (encode(image, format_, **options) for format_, options in WRITTEN.values())
        decoded = [classifier.decode(upload) for upload in uploads]
        for name, picture, answer in zip(WRITTEN, decoded, classifier.infer(decoded), strict=True):
            seen[name].append((picture.pixels, list(answer.probabilities)))
    views = {}
    for name, some in seen.items():
        pixels = np.stack([pixels for pixels, _ in some]).astype(np.int16)
        probabilities = np.array([row for _, row in some])
        top = -np.sort(-probabilities, axis=1)[:, :2]
        views[name] = Views(pixels, probabilities.argmax(axis=1), top)
    return views


def rows(views: dict[str, Views]) -> Iterator[str]:
    """A row for each format; the pixels are compared with those of the TIFF, which are exact."""
    reference, exact = views[REFERENCE], views["TIFF"].pixels
    sure, clear = reference.top[:, 0] > SURE, reference.margin > MARGIN
    for name, some in views.items():
        same = some.first == reference.first
        cells = [intervals.share(hits).text() for hits in (same, same[sure], same[clear])]
        widest = reference.margin[~same].max(initial=0)
        apart = some.pixels - exact
        bias = " ".join(f"{level:+.2f}" for level in apart.mean((0, 1, 2)))
        error = f"{np.abs(apart).mean():.2f}, {np.abs(apart).max()}"
        yield f"| {name} | {' | '.join(cells)} | {widest:.2f} | {error} | {bias} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.formats")
    parser.add_argument("folder", type=Path, help="pictures, also in folders of it")
    parser.add_argument("--size", help="width and height to enlarge them to, such as 4032x3024")
    parser.add_argument("--pictures", type=int, help="how many, spread over the folder")
    arguments = parser.parse_args(argv)
    paths = files.find([str(arguments.folder)])
    paths = paths[:: max(len(paths) // (arguments.pictures or len(paths)), 1)][: arguments.pictures]
    size = None
    if arguments.size:
        width, height = map(int, arguments.size.split("x"))
        size = width, height
    classifier = Classifier.open(provider="cpu", max_pixels=LIMIT)
    views = look(classifier, read(paths, size))
    sure = intervals.share(views[REFERENCE].top[:, 0] > SURE)
    clear = intervals.share(views[REFERENCE].margin > MARGIN)
    print(f"{classifier.model.name}/{classifier.model.version}/{classifier.model.variant},")
    print(f"{len(paths)} pictures; {REFERENCE}: top over {SURE} for {sure.value:.0%}, "
          f"margin over {MARGIN} for {clear.value:.0%}")  # fmt: skip
    print(f"| written as | same first class | top over {SURE} | margin over {MARGIN} "
          "| widest margin | error: mean, most | bias |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    print(*rows(views), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
