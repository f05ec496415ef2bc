"""The command line of the server, without starting one."""

import re

import pytest

from service.cli.serve import _parse, main
from service.settings import Settings


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for name in Settings.model_fields:
        assert "--" + name.replace("_", "-") in text


def test_help_shows_plain_words_and_no_python_types(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert "--port NUMBER" in text
    assert "--workers {NUMBER,auto}" in text
    assert "--api-keys LIST" in text
    for word in ("int", "str", "float", "Path", "tuple", "SecretStr", "None", "()"):
        assert not re.search(rf"(?<![\w-]){re.escape(word)}(?!\w)", text), word


@pytest.mark.parametrize(
    ("arguments", "served"), [([], ("*",)), (["--served", ""], ()), (["--served", "a"], ("a",))]
)
def test_models_that_are_served_are_a_flag(arguments: list[str], served: tuple[str, ...]) -> None:
    assert _parse(arguments).served == served


@pytest.mark.parametrize(
    ("arguments", "named"), [(["--port", "99999"], "port"), (["--provider", "tpu"], "provider")]
)
def test_wrong_flag_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {named}: ")


def test_wrong_variable_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR10_MAX_BATCH", "many")
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: max_batch: ")


def test_misspelt_variable_about_keys_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR10_API_KEY", "s3cret")
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: There is no setting CIFAR10_API_KEY")
    assert "s3cret" not in line


def test_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--colour", "red"])
    assert end.value.code == 2
    assert "--colour" in capsys.readouterr().err
