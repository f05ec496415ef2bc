import sys
from pathlib import Path

import pytest

from training.__main__ import _COMMANDS, main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["python -m training", *arguments])
    return main()


COMMANDS = (
    "run", "fit", "export", "verify", "evaluate", "publish", "verify-models", "compare",
    "photographs", "closer-looks", "corruptions", "ablate", "resize-rules", "bench",
)  # fmt: skip


def test_help_lists_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "--help")
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()
              if line.startswith("    ") and line[4] != " "]  # fmt: skip
    assert listed == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_names_its_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, command, "--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: python -m training {command}" in text
    assert "object at" not in text
    assert "<" not in text.replace("<class>", "")  # no repr of a type


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--seed", "x", "'x' is not a whole number from 0 to 2147483648"),
        ("--seed", "-1", "'-1' is not a whole number from 0 to 2147483648"),
        ("--seed", "4294967296", "'4294967296' is not a whole number from 0 to 2147483648"),
        ("--name", "../../escaped", "'../../escaped' is no name of a file or folder"),
        ("--seeds", "0", "'0' is not a whole number from 1 on"),
        ("--image-size", "8", "'8' is not a whole number from 16 to 128"),
        ("--image-size", "129", "'129' is not a whole number from 16 to 128"),
    ],
)
def test_wrong_number_is_explained(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    value: str,
    words: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "run", option, value)
    assert ended.value.code == 2
    assert f"argument {option}: {words}" in capsys.readouterr().err


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


@pytest.mark.parametrize(("command", "can_resume"), [("fit run", True), ("bench", False)])
def test_interrupted_command_names_resume_where_it_has_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    can_resume: bool,
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    name = command.split()[0]
    monkeypatch.setitem(_COMMANDS, name, (interrupt, _COMMANDS[name][1]))
    assert run(monkeypatch, *command.split()) == 130
    assert ("--resume continues" in capsys.readouterr().err) == can_resume
