import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from training.data.dataset import DataSet
from training.errors import TrainingError
from training.presets import Preset
from training.train import checkpoint, untrained
from training.train.checkpoint import HISTORY_COLUMNS, Run


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


def test_run_whose_history_is_ahead_of_its_checkpoint_is_not_finished(
    trained: Run, preset: Preset, sample: DataSet, tmp_path: Path
) -> None:
    assert trained.is_finished()
    run = Run(Path(shutil.copytree(trained.folder, tmp_path / "run")))
    untrained.new_model(preset, sample, 0).save(run.checkpoint)
    assert run.epochs() == 0
    assert run.read_history().empty
    assert not run.is_finished()


@pytest.mark.parametrize("name", ["checkpoint.keras", "history.csv"])
@pytest.mark.parametrize("damage", [b"", b"\xff\n"])
def test_damaged_file_of_a_run_is_named(
    trained: Run, tmp_path: Path, name: str, damage: bytes
) -> None:
    run = Run(Path(shutil.copytree(trained.folder, tmp_path / "run")))
    (run.folder / name).write_bytes(damage)
    with pytest.raises(TrainingError, match=name):
        run.read_history()


def test_history_without_processor_time_is_read(trained: Run, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(trained.folder, tmp_path / "run")))
    trained.read_history().drop(columns="processor_seconds").to_csv(run.history, index=False)
    found = run.read_history()
    assert list(found.columns) == HISTORY_COLUMNS
    assert found["processor_seconds"].isna().all()
    assert len(found) == 3


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    with (
        Run(tmp_path).locked(),
        pytest.raises(TrainingError, match="another process trains here"),
        Run(tmp_path).locked(),
    ):
        pass
    with Run(tmp_path).locked():
        pass


def test_what_cannot_be_read_as_a_run_is_no_history(trained: Run, tmp_path: Path) -> None:
    runs = [Run(Path(shutil.copytree(trained.folder, tmp_path / name))) for name in "abc"]
    runs[1].settings.write_text("{}")
    settings = trained.read_settings()
    runs[2].write_settings(settings.model_copy(update={"seed": 1}))
    runs[2].checkpoint.write_bytes(b"half")
    assert list(checkpoint.histories(runs[0])) == [0]


def test_histories_are_those_of_seeds_of_the_same_preset(trained: Run, tmp_path: Path) -> None:
    runs = [Run(Path(shutil.copytree(trained.folder, tmp_path / name))) for name in "abc"]
    settings = trained.read_settings()
    runs[1].write_settings(settings.model_copy(update={"seed": 1}))
    other = {"seed": 2, "preset": replace(settings.preset, epochs=99)}
    runs[2].write_settings(settings.model_copy(update=other))
    assert sorted(checkpoint.histories(runs[0])) == [0, 1]
