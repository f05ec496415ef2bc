"""Trains a small network in a process of its own, since Keras has one backend in a process."""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.conftest import FOLDERS
from training import environment
from training.data import dataset
from training.data.dataset import DataSet
from training.presets import DEFAULT, Preset, WhitenedNetwork
from training.train import backend, fit
from training.train.checkpoint import Run

# In front of the arguments of `main`. No import of TensorFlow works in that process.
COMMAND = (
    sys.executable,
    "-c",
    "from tests.training.train.without import without; without('tensorflow'); "
    "from tests.training.train import small; small.main()",
)

in_long_form = pytest.mark.skipif(
    "BACKENDS" not in os.environ, reason="`make test-backends` does it"
)

NETWORK = WhitenedNetwork(widths=(8,), group=2, residual=True, fused=True)
# Four outliers beside 32 pictures: two processes have even parts.
HOW = replace(DEFAULT.augmentation, outliers=1 / 8)
PRESET = replace(
    DEFAULT, network=NETWORK, augmentation=HOW, epochs=3, batch_size=32, validate_every=1,
    sharpness_radius=0.1, sharpness_share=1 / 3,
)  # fmt: skip
TEACHER = replace(
    PRESET, name="teacher", on_device=True, sharpness_radius=0.0, sharpness_share=0.0,
    augmentation=replace(HOW, outliers=1 / 16),
)  # fmt: skip
STUDENT = replace(TEACHER, name="student", teacher="teacher", label_smoothing=0.0)
PRESETS = {preset.name: preset for preset in (PRESET, TEACHER, STUDENT)}


def variables(name: str, **others: str) -> dict[str, str]:
    """The environment of a process with a backend of Keras."""
    # What is computed is little, and optimising it would take most of the time.
    return {**os.environ, "KERAS_BACKEND": name, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", **others}


def sample(preset: Preset) -> DataSet:
    """The sample through the loader."""
    return dataset.load(FOLDERS, preset.image_size, preset.resize)


def wait_for_an_epoch(run: Run, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process that saves often has finished an epoch."""
    end = time.monotonic() + 120
    while run.read_history().empty:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)


def main() -> None:
    """Train or continue a preset in float32; with `--often` save after each step."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default=PRESET.name)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--often", action="store_true")
    args = parser.parse_args()
    print(backend.start())
    environment.dtype_policy = lambda: "float32"  # whatever the processor has
    if args.often:
        fit.SAVE_SECONDS = 0.0
    preset = PRESETS[args.preset]
    fit.fit(preset, sample(preset), args.folder, resume=True, devices=args.devices)
