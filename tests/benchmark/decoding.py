"""How often the first class changes because large JPEGs are decoded smaller.

    python -m tests.benchmark.decoding FOLDER [--pictures 1000]

The folder holds the data of the training, of which the validation split is used, enlarged.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from service.inference import decoding, resizing
from service.inference.classifier import Classifier
from service.inference.views import Decoded
from tests.benchmark.pictures import LARGER, enlarge
from training.data import dataset
from training.errors import TrainingError
from training.presets import ResizeRule

LIMIT = 50_000_000


def decode_in_full(classifier: Classifier, picture: bytes) -> Decoded:
    """What `Classifier.decode` would give if it decoded each picture in its own size."""
    pixels, facts, box = decoding.decode(picture, LIMIT)
    size = classifier.engine.width, classifier.engine.height
    return Decoded(resizing.fit(pixels, *size, classifier.model.resize, box), facts)


def agreement(classifier: Classifier, pictures: Iterator[bytes]) -> Iterator[bool]:
    """For each picture, whether its first class is that of decoding in full."""
    for picture in pictures:
        both = [classifier.decode(picture), decode_in_full(classifier, picture)]
        smaller, full = classifier.infer(both)
        yield smaller.label == full.label


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one line for each size; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.decoding")
    parser.add_argument("folder", type=Path, help="the data of the training")
    parser.add_argument("--pictures", type=int, default=1000, help="how many of 500x375")
    arguments = parser.parse_args(argv)
    classifier = Classifier.open(provider="cpu", second_view=False)
    try:
        small = dataset.load(arguments.folder, classifier.engine.width, ResizeRule()).validation
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{classifier.model.name}/{classifier.model.version}/{classifier.model.variant}")
    for name, (width, height, _) in LARGER.items():
        # The same number of pixels would take hours.
        count = arguments.pictures if width < 1000 else arguments.pictures // 20
        some = map(Image.fromarray, small.images[:count])
        same = list(agreement(classifier, enlarge(some, width, height)))
        print(f"{name}: the same first class for {sum(same) / len(same):.2%} of {len(same)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
