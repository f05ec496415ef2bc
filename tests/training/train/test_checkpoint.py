import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from training.errors import TrainingError
from training.train import checkpoint
from training.train.checkpoint import Run


def test_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no training run here"):
        Run(tmp_path).read_settings()


def test_settings_are_read_as_they_were_written(trained: Run) -> None:
    settings = trained.read_settings()
    assert json.loads(trained.settings.read_text()) == settings.to_json()
    assert settings.preset.name == "baseline"
    assert settings.data.train == 108


def test_settings_of_another_version_are_named(trained: Run, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(trained.folder, tmp_path / "run")))
    values = json.loads(run.settings.read_text())
    values["preset"]["network"]["kind"] = "Perceptron"
    run.settings.write_text(json.dumps(values))
    with pytest.raises(TrainingError, match=r"run\.json: not the settings of a run: .*Perceptron"):
        run.read_settings()


def test_histories_are_those_of_seeds_of_the_same_preset(trained: Run, tmp_path: Path) -> None:
    runs = [Run(Path(shutil.copytree(trained.folder, tmp_path / name))) for name in "abc"]
    settings = trained.read_settings()
    runs[1].write_settings(settings.model_copy(update={"seed": 1}))
    other = {"seed": 2, "preset": replace(settings.preset, epochs=99)}
    runs[2].write_settings(settings.model_copy(update=other))
    assert sorted(checkpoint.histories(runs[0])) == [0, 1]
