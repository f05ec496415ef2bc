import sys
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import FOLDERS, pictures
from training.__main__ import main
from training.data.dataset import Split
from training.errors import TrainingError
from training.measure import corruptions as copies
from training.measure.predict import right
from training.publish.artifact import Artifact
from training.study import corruptions

BASELINE = Path(__file__).parents[3] / "models" / "cifar10" / "1" / "model.onnx"
IMAGES, LABELS = pictures("test")
SPLIT = Split(IMAGES, np.array(LABELS))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of the fifteen: what is tested is the table."""
    some = {name: copies.CORRUPTIONS[name] for name in ("gaussian noise", "zoom blur", "jpeg")}
    monkeypatch.setattr(corruptions, "CORRUPTIONS", some)


def test_table_has_the_accuracy_on_each_copy_and_the_means() -> None:
    table = corruptions.measure(BASELINE, SPLIT, None)
    assert table.shape == (4, 6)
    blurred = copies.corrupted(IMAGES, "zoom blur", 4)
    cells = table.to_numpy()
    row = table.index.get_loc("zoom blur")
    assert cells[row, 3] == right(BASELINE, blurred, SPLIT.labels).mean()
    assert cells[-1, -1] == pytest.approx(cells[:-1, :-1].mean())
    assert cells[-1, 4] < cells[-1, 0] < right(BASELINE, IMAGES, SPLIT.labels).mean()


def test_other_sizes_are_refused() -> None:
    with pytest.raises(TrainingError, match="pictures of 32 x 32 pixels only"):
        corruptions.measure(BASELINE, Split(IMAGES[:, :24, :24], SPLIT.labels), None)


def test_command_says_what_was_measured(
    finished: Artifact, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["corruptions", str(finished.model), "--data", str(FOLDERS)]
    monkeypatch.setattr(sys, "argv", ["", *arguments])
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("test split, 40 pictures, as served")
    assert lines[2].startswith("gaussian noise")
    assert lines[-1].startswith("mean")
