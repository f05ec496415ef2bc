from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import FOLDERS, pictures
from training.data import dataset
from training.data.layout import find_reader
from training.data.reader import CIFAR10_LABELS
from training.errors import TrainingError
from training.presets import ResizeRule

RULE = ResizeRule()


def read(folder: Path) -> dataset.DataSet:
    return dataset.load(folder, 32, RULE)


def test_every_layout_gives_the_same_pictures(kaggle: Path, batches: Path) -> None:
    expected, labels = pictures("train")
    for folder in (kaggle, batches, batches / "cifar-10-batches-py", FOLDERS):
        raw = find_reader(folder, 32, RULE).read("train")
        np.testing.assert_array_equal(raw.images, expected)
        assert raw.labels is not None
        assert raw.labels.tolist() == labels
        assert raw.classes == CIFAR10_LABELS


def test_folder_without_a_known_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"found neither train\.csv"):
        read(tmp_path)
    with pytest.raises(TrainingError, match="no such folder"):
        read(tmp_path / "nowhere")
