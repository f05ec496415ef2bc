from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import FOLDERS
from training.data import dataset
from training.errors import TrainingError
from training.presets import ResizeRule

RULE = ResizeRule()


def test_validation_is_a_stratified_tenth(sample: dataset.DataSet) -> None:
    assert (len(sample.train), len(sample.validation)) == (108, 12)
    counts = np.bincount(sample.validation.labels, minlength=10)
    assert counts.min() >= 1
    assert counts.max() <= 2


def test_splits_share_no_picture_and_never_change(sample: dataset.DataSet) -> None:
    again = dataset.load(FOLDERS, 32, RULE)
    np.testing.assert_array_equal(again.validation.images, sample.validation.images)
    train = {image.tobytes() for image in sample.train.images}
    assert not train & {image.tobytes() for image in sample.validation.images}


def test_pictures_come_at_the_size_that_was_asked_for(kaggle: Path) -> None:
    assert dataset.load(kaggle, 48, RULE).train.images.shape == (108, 48, 48, 3)
    assert dataset.load(FOLDERS, 16, replace(RULE, mode="pad")).train.images.shape[1:] == (
        16,
        16,
        3,
    )


def test_class_with_one_picture_is_refused(tmp_path: Path) -> None:
    for name, count in (("cat", 5), ("dog", 1)):
        folder = tmp_path / "train" / name
        folder.mkdir(parents=True)
        for path in sorted((FOLDERS / "train" / name).iterdir())[:count]:
            (folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(TrainingError, match="class 'dog' has too few training pictures"):
        dataset.load(tmp_path, 32, RULE)
