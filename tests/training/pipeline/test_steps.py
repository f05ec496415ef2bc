from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.conftest import FOLDERS
from training.data.dataset import DataSet
from training.errors import TrainingError
from training.pipeline import steps
from training.train.checkpoint import Run


def test_model_is_named_after_its_data(sample: DataSet) -> None:
    assert steps.model_name(sample, FOLDERS) == "cifar10"
    assert steps.model_name(sample, None) == "cifar10"


@pytest.mark.parametrize("name", [".hidden", "two\nlines"])
def test_folder_whose_name_is_none_for_a_model_is_named(sample: DataSet, name: str) -> None:
    own = replace(sample, classes=("a", "b"))
    with pytest.raises(TrainingError, match="name the model with --name"):
        steps.model_name(own, Path(name))


def test_other_data_than_the_run_was_trained_on_is_refused(trained: Run, kaggle: Path) -> None:
    lines = (kaggle / "train.csv").read_text().splitlines()
    (kaggle / "train.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(TrainingError, match="trained on other data than --data names"):
        steps.load_for(trained, kaggle)
