import shutil
from pathlib import Path

import pytest

from training import sources
from training.data.dataset import DataSet
from training.presets import Preset
from training.train import origin, untrained
from training.train.checkpoint import Run


@pytest.fixture
def cut(trained: Run, preset: Preset, sample: DataSet, tmp_path: Path) -> Run:
    """A run that was interrupted before its first epoch ended."""
    run = Run(Path(shutil.copytree(trained.folder, tmp_path / "run")))
    untrained.new_model(preset, sample, 0).save(run.checkpoint)
    return run


def started_with(run: Run, **changes: object) -> None:
    settings = run.read_settings()
    changed = settings.origin.model_copy(update=changes)
    run.write_settings(settings.model_copy(update={"origin": changed}))


def resume(run: Run, preset: Preset, sample: DataSet) -> tuple[str, ...]:
    origin.check(run, origin.settings(preset, sample, 0, 1))
    return run.read_settings().changes


def test_resumption_with_another_library_machine_or_code_is_said_and_recorded(
    cut: Run, sample: DataSet, preset: Preset, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resume(cut, preset, sample) == ()
    libraries = cut.read_settings().origin.libraries
    others = {"keras": "3.0.0", "pillow": "1.0"}
    started_with(cut, hardware="a toaster", libraries=libraries | others, code="abc")
    hardware, code, *changed = [resume(cut, preset, sample) for _ in range(2)][-1]
    assert hardware.startswith("after epoch 0: hardware a toaster -> ")
    assert code == f"after epoch 0: code abc -> {sources.digest('presets.py', 'train')}"
    assert changed == [
        f"after epoch 0: keras 3.0.0 -> {libraries['keras']}",
        f"after epoch 0: pillow 1.0 -> {libraries['pillow']}",
    ]
    assert capsys.readouterr().out.count(f"warning: resumed {code}; ") == 1


def test_finished_run_is_not_changed_by_what_it_is_opened_with(
    trained: Run, sample: DataSet, preset: Preset, tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(trained.folder, tmp_path / "run")))
    started_with(run, hardware="a toaster")
    assert resume(run, preset, sample) == ()


def test_what_an_earlier_version_did_not_record_is_said(
    cut: Run, trained: Run, sample: DataSet, preset: Preset
) -> None:
    assert origin.not_recorded(trained.read_settings(), trained.read_history()) == []
    libraries = dict(trained.read_settings().origin.libraries)
    pillow = libraries.pop("pillow")
    started_with(cut, libraries=libraries, code=None)
    history = trained.read_history()
    history.loc[:1, "processor_seconds"] = float("nan")
    assert origin.not_recorded(cut.read_settings(), history) == [
        "not recorded at the start: code, pillow",
        "not recorded: the processor time of 2 of 3 epochs",
    ]
    assert resume(cut, preset, sample) == (
        f"after epoch 0: code not recorded -> {sources.digest('presets.py', 'train')}",
        f"after epoch 0: pillow not recorded -> {pillow}",
    )
