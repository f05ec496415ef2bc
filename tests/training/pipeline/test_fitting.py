from dataclasses import replace
from pathlib import Path

import pytest

from training.data.dataset import DataSet
from training.pipeline import fitting
from training.presets import TEACHER, Preset
from training.train.checkpoint import Run


@pytest.fixture(autouse=True)
def trained_presets(monkeypatch: pytest.MonkeyPatch) -> list[Preset]:
    """The presets that would have been trained."""
    presets: list[Preset] = []
    monkeypatch.setattr("training.train.fit.fit", lambda preset, *_, **__: presets.append(preset))
    return presets


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


@pytest.mark.parametrize("epochs", [TEACHER.epochs + 1, TEACHER.epochs - 1])
def test_teacher_takes_its_own_epochs_or_those_of_a_shorter_student(
    preset: Preset,
    sample: DataSet,
    tmp_path: Path,
    trained_presets: list[Preset],
    epochs: int,
) -> None:
    student = replace(preset, teacher=TEACHER.name, epochs=epochs)
    fitting.fit_with_teacher(student, sample, tmp_path / "run")
    teacher, last = trained_presets
    assert last is student
    assert teacher.name == TEACHER.name
    assert teacher.epochs == min(TEACHER.epochs, epochs)
