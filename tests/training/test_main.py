import sys
from pathlib import Path

import pytest

from training.__main__ import main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["python -m training", *arguments])
    return main()


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "fit",
        "export",
        "verify",
        "evaluate",
        "publish",
        "ablate",
        "verify-models",
        "resize-rules",
    ],
)
def test_help_of_every_command_names_its_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, command, "--help")
    assert ended.value.code == 0
    assert f"usage: python -m training {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["run"], ["fit", "somewhere"], ["ablate"]])
def test_missing_data_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: list[str],
) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert run(monkeypatch, *command, "--data", nowhere) == 1
    assert capsys.readouterr().err == f"error: {nowhere}: no such folder\n"


@pytest.mark.parametrize("command", ["export", "verify", "evaluate", "resize-rules", "publish"])
def test_folder_without_a_run_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: str,
) -> None:
    assert run(monkeypatch, command, str(tmp_path)) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}")
    assert error.count("\n") == 1
