import os
import pickle
from pathlib import Path

import pytest

from tests.training.conftest import pictures
from training.data import dataset
from training.errors import TrainingError
from training.presets import ResizeRule

RULE = ResizeRule()


def read(folder: Path) -> dataset.DataSet:
    return dataset.load(folder, 32, RULE)


def test_class_without_training_pictures_is_named(batches: Path) -> None:
    folder = batches / "cifar-10-batches-py"
    images, labels = pictures("train")
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    only = {b"data": rows, b"labels": [min(label, 8) for label in labels]}
    (folder / "data_batch_1").write_bytes(pickle.dumps(only, 2))
    with pytest.raises(TrainingError, match="class 'truck' has no training pictures"):
        read(batches)


def test_pickle_that_calls_a_function_is_refused(batches: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    (batches / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps({b"data": Evil()}))
    with pytest.raises(TrainingError, match="data_batch_1: not a CIFAR-10 batch file"):
        read(batches)
    assert not (tmp_path / "owned").exists()
