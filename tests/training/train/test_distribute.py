"""On two logical CPUs, which TensorFlow makes only before it starts: in a process of its own."""

import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from tests.training.conftest import FOLDERS
from training import environment
from training.data import dataset
from training.errors import TrainingError
from training.presets import DEFAULT, WhitenedNetwork
from training.train import distribute, fit
from training.train.checkpoint import Run
from training.train.feed import Batches

pytestmark = pytest.mark.long

PRESET = replace(DEFAULT, network=WhitenedNetwork(widths=(8, 16)), epochs=2, batch_size=32)
PICTURES = 2 * (32 + round(32 * PRESET.augmentation.outliers))  # of a step, twice


@dataclass
class Outcome:
    """Curves of runs on one device, on two, and on two with a break; pictures in each share."""

    histories: dict[str, pd.DataFrame] = field(default_factory=dict)
    shares: dict[str, list[int]] = field(default_factory=dict)


def train_all(folder: Path) -> Outcome:
    """Train on batches of twice the same pictures: each half has the statistics of the whole."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    outcome, shares = Outcome(), []
    make, measure, save = Batches.__getitem__, fit.FamiliarAccuracy.update_state, Run.save

    def twice(batches: Batches, step: int) -> tuple[Any, ...]:
        return tuple(np.concatenate([half, half]) for half in make(batches, step))

    def count(metric: Any, y_true: Any, y_pred: Any, sample_weight: None = None) -> None:  # noqa: ANN401
        tf.py_function(lambda size: shares.append(int(size)), [tf.shape(y_true)[0]], [])
        measure(metric, y_true, y_pred, sample_weight)

    def keep_a_copy(run: Run, model: keras.Model, history: pd.DataFrame) -> None:
        """What a break after the first epoch leaves of the run on two devices."""
        save(run, model, history)
        if run.folder.name == "two" and len(history) == 1:
            shutil.copytree(run.folder, folder / "broken")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batches, "__getitem__", twice)
        patch.setattr(fit.FamiliarAccuracy, "update_state", count)
        patch.setattr(environment, "dtype_policy", lambda: "float32")
        patch.setattr(Run, "save", keep_a_copy)
        sample = dataset.load(FOLDERS, PRESET.image_size, PRESET.resize)
        for name, devices in (("one", 1), ("two", 2), ("broken", 2)):
            shares.clear()
            assert (folder / name).exists() == (name == "broken")
            fit.fit(PRESET, sample, folder / name, devices=devices, resume=True)
            outcome.histories[name] = Run(folder / name).read_history().drop(columns="seconds")
            outcome.shares[name] = list(shares)
    return outcome


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(train_all, tmp_path_factory.mktemp("runs")).result()


def test_each_device_takes_an_equal_share_of_each_batch(outcome: Outcome) -> None:
    steps = 3
    assert outcome.shares["one"][:steps] == [PICTURES] * steps
    assert outcome.shares["two"][: 2 * steps] == [PICTURES // 2] * 2 * steps


def test_two_devices_learn_what_one_does(outcome: Outcome) -> None:
    one, two = outcome.histories["one"], outcome.histories["two"]
    pd.testing.assert_frame_equal(one, two, rtol=1e-3)


def test_run_on_two_devices_goes_on_after_a_break(outcome: Outcome) -> None:
    pd.testing.assert_frame_equal(outcome.histories["two"], outcome.histories["broken"], rtol=1e-3)


def test_more_devices_than_there_are_is_refused() -> None:
    with pytest.raises(TrainingError, match="--devices 99: TensorFlow has"):
        distribute.scope(99)
