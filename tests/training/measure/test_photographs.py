"""Figures on folders of photographs, with the shipped baseline and the sample of CIFAR-10."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.conftest import FOLDERS
from training.__main__ import main
from training.errors import TrainingError
from training.measure import photographs
from training.presets import ResizeRule
from training.publish.artifact import Artifact

SHIPPED = Path(__file__).parents[3] / "models" / "cifar10" / "1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of cats and of ships in their folders, and noise in the folder `other`."""
    for name in ("cat", "ship"):
        shutil.copytree(FOLDERS / "test" / name, tmp_path / name)
    (tmp_path / "cat" / ".hidden").write_bytes(b"no picture")
    (tmp_path / ".git").mkdir()
    rng = np.random.default_rng(0)
    (tmp_path / "other" / "deeper").mkdir(parents=True)
    for number in range(6):
        noise = Image.fromarray(rng.integers(0, 256, (60, 90, 3), np.uint8))
        noise.save(tmp_path / "other" / "deeper" / f"{number}.png")
    return tmp_path


def test_photographs_are_measured_each_kind_by_itself(folder: Path) -> None:
    card = Artifact(SHIPPED).read_card()
    loaded = photographs.load(folder, folder / "other", card.labels, 32, ResizeRule())
    found = photographs.measure(SHIPPED / "model.onnx", loaded, card.labels, card.energy_threshold)
    assert found.accuracy.pictures == 8
    assert list(found.per_class) == ["cat", "ship"]
    recalls = [one.value for one in found.per_class.values()]
    assert found.mean_over_classes.value == found.accuracy.value == pytest.approx(np.mean(recalls))
    assert found.other_called_unfamiliar.pictures == 6
    assert found.other_called_unfamiliar.value + found.other_confident.value <= 1
    assert found.auroc.low <= found.auroc.value <= found.auroc.high
    everything = photographs.measure(SHIPPED / "model.onnx", loaded, card.labels, threshold=99)
    assert everything.other_called_unfamiliar.value == 1
    assert everything.familiar_called_unfamiliar.value == 1
    assert everything.other_confident.value == 0


def test_command_prints_intervals(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["photographs", str(SHIPPED), "--photographs", str(folder)]
    monkeypatch.setattr(sys, "argv", ["python -m training", *command])
    assert main() == 1
    assert capsys.readouterr().err == "error: name both folders, with --photographs and --other\n"
    monkeypatch.setattr(
        sys, "argv", ["python -m training", *command, "--other", str(folder / "other")]
    )
    assert main() == 0
    assert "8 of the classes: right" in (printed := capsys.readouterr().out)
    assert "6 of other things: called unfamiliar" in printed


@pytest.mark.parametrize(
    ("name", "words"),
    [("zebra", "'zebra' is no class of the model"), ("other", "no such folder")],
)
def test_folders_that_do_not_fit_are_named(folder: Path, name: str, words: str) -> None:
    (folder / "zebra").mkdir() if name == "zebra" else shutil.rmtree(folder / "other")
    labels = Artifact(SHIPPED).read_card().labels
    with pytest.raises(TrainingError, match=words):
        photographs.load(folder, folder / "other", labels, 32, ResizeRule())
