import numpy as np
import pytest

from tests.training.conftest import pictures
from training.data import dataset
from training.data.reader import CIFAR10_LABELS
from training.errors import TrainingError
from training.presets import ResizeRule

RULE = ResizeRule()


def test_failed_download_says_what_else_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("no network")

    monkeypatch.setattr("keras.datasets.cifar10.load_data", fail)
    with pytest.raises(TrainingError, match=r"no network.*Name a folder with --data"):
        dataset.load(None, 32, RULE)


def test_without_a_folder_keras_provides_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_data() -> object:  # as keras.datasets.cifar10 gives it: labels in a column
        both = (pictures("train"), pictures("test"))
        return tuple((images, np.array(labels)[:, None]) for images, labels in both)

    monkeypatch.setattr("keras.datasets.cifar10.load_data", load_data)
    data, test = dataset.load(None, 32, RULE), dataset.load_test(None, 32, RULE)
    assert data.classes == CIFAR10_LABELS
    assert len(data.train) == 108
    assert test is not None
    assert len(test) == 40
