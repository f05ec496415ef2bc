"""The options of the command line, by name, as arguments of `ArgumentParser.add_argument`."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.files import one_component
from training.presets import PRESETS

# Under 16 pixels three poolings leave nothing; over 128 pixels other networks are better.
SMALLEST_IMAGE, LARGEST_IMAGE = 16, 128
LARGEST_SEED = 2**31  # NumPy takes up to 2**32 - 1, and `--seeds` counts on from it


def _whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """The argparse type of whole numbers in a range."""

    def parse(text: str) -> int:
        if text.isdecimal() and int(text) >= least and (most is None or int(text) <= most):
            return int(text)
        limits = f"from {least} on" if most is None else f"from {least} to {most}"
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {limits}")

    return parse


def _name(text: str) -> str:
    """The argparse type of names of models."""
    try:
        return one_component(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


OPTIONS: dict[str, dict[str, Any]] = {
    "run": {"type": Path, "metavar": "RUN", "help": "the run folder"},
    "what": {
        "nargs": "+",
        "metavar": "MODEL",
        "help": "a version of cifar10, the folder of a version or a run, or an ONNX file",
    },
    "--preset": {
        "choices": sorted(PRESETS),
        "default": "default",
        "help": "the network and how to train it (default: %(default)s)",
    },
    "--image-size": {
        "type": _whole_number(SMALLEST_IMAGE, LARGEST_IMAGE),
        "metavar": "PIXELS",
        "help": "height and width of the network's input (default: as in the preset, 32)",
    },
    "--epochs": {
        "type": _whole_number(1),
        "metavar": "N",
        "help": "passes over the training pictures, of a teacher too (default: as in the preset)",
    },
    "--data": {
        "type": Path,
        "metavar": "FOLDER",
        "help": "folder with train.csv and test.csv (Kaggle), cifar-10-batches-py, or "
        "train/<class>/ and test/<class>/ folders of pictures "
        "(default: CIFAR-10, downloaded by Keras)",
    },
    "--photographs": {
        "type": Path,
        "metavar": "FOLDER",
        "help": "folder with a folder of photographs for each class, to measure on",
    },
    "--other": {
        "type": Path,
        "metavar": "FOLDER",
        "help": "folder of photographs of other things, to measure on",
    },
    "--pictures": {
        "type": _whole_number(1),
        "metavar": "N",
        "help": "train on the first N training pictures (default: all)",
    },
    "--split": {
        "choices": ["validation", "test"],
        "help": "the pictures to measure on (default: validation where a run is among the models, "
        "because that is a choice; else test)",
    },
    "--seed": {
        "type": _whole_number(0, LARGEST_SEED),
        "default": 0,
        "metavar": "N",
        "help": "seed of all random choices (default: %(default)s)",
    },
    "--seeds": {
        "type": _whole_number(1),
        "default": 1,
        "metavar": "N",
        "help": "train N seeds to measure their spread, and publish the first (default: 1)",
    },
    "--devices": {
        "type": _whole_number(1),
        "default": 1,
        "metavar": "N",
        "help": "split each batch over N devices; KERAS_BACKEND=jax only (default: 1)",
    },
    "--resume": {"action": "store_true", "help": "continue an interrupted run"},
    "--name": {
        "type": _name,
        "metavar": "NAME",
        "help": "name of the model (default: cifar10, or the name of the data folder)",
    },
    "--models": {
        "type": Path,
        "default": Path("models"),
        "metavar": "FOLDER",
        "help": "the model repository (default: %(default)s)",
    },
    "--runs": {
        "type": Path,
        "default": Path("runs"),
        "metavar": "FOLDER",
        "help": "folder for the runs (default: %(default)s)",
    },
}
