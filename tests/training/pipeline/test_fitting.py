from pathlib import Path

import pytest

from training.data.dataset import DataSet
from training.pipeline import fitting
from training.presets import Preset
from training.train.checkpoint import Run


@pytest.fixture(autouse=True)
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.train.fit.fit", lambda *_, **__: None)


@pytest.mark.parametrize("resume", [True, False])
def test_resumption_of_a_run_that_is_not_there_is_said(
    preset: Preset,
    sample: DataSet,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    resume: bool,
) -> None:
    fitting.fit_with_teacher(preset, sample, tmp_path / "run", resume=resume)
    said = f"{tmp_path / 'run'}: no run to resume, a new one is started" in capsys.readouterr().out
    assert said == resume


def test_resumption_of_a_run_is_not_called_a_new_one(
    preset: Preset, sample: DataSet, trained: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    fitting.fit_with_teacher(preset, sample, trained.folder, resume=True)
    assert "no run to resume" not in capsys.readouterr().out
