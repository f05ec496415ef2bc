"""cifar10-serve: what its commands print, and the status they end with."""

import csv
import io
import json
import os
import pkgutil
import pty
import subprocess
import sys
import termios
import tomllib
from pathlib import Path

import pytest

from service.cli import files
from service.cli import main as cli
from tests.service.conftest import colour
from tests.service.models import add_variant, write_model


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a repository in models/, and pictures/ with a bad one among them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIFAR10_MODEL", "tiny")
    monkeypatch.setenv("CIFAR10_PROVIDER", "cpu")
    write_model(Path("models"), energy_threshold=2)
    folder = Path("pictures")
    folder.mkdir()
    for name in ("black", "blue", "red"):
        (folder / f"{name}.png").write_bytes(colour(name))
    (folder / "broken.png").write_bytes(colour("red")[:50])
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Runs a command; returns its status and what it wrote to stdout and stderr."""
    status = cli.main(arguments)
    return status, *capsys.readouterr()


def test_installed_command_is_this_one() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert pkgutil.resolve_name(project["scripts"]["cifar10-serve"]) is cli.main


@pytest.mark.parametrize("arguments", [["--version"], ["serve", "--version"]])
def test_release_is_that_of_the_project(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 0
    assert capsys.readouterr().out == f"{project['name']} {project['version']}\n"


def test_serve_passes_its_flags_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[list[str]] = []

    def serve(arguments: list[str]) -> int:
        received.append(arguments)
        return 7

    monkeypatch.setattr("service.cli.serve.main", serve)
    assert cli.main(["serve", "--port", "9000"]) == 7
    assert received == [["--port", "9000"]]


def test_table_has_a_row_for_each_file(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "predict", "pictures")
    black, blue, broken, red = out.splitlines()
    assert black.split() == ["pictures/black.png", "red", "33.3%", "unfamiliar"]
    assert blue.split() == ["pictures/blue.png", "blue", "96.5%"]
    assert broken.startswith("pictures/broken.png  not classified: The PNG data are broken")
    assert blue.index("96.5%") == red.index("96.5%")
    assert err.splitlines()[0] == "1 of 4 could not be classified:"
    assert err.splitlines()[1].startswith("  pictures/broken.png: The PNG data are broken")
    assert len(err.splitlines()) == 2
    assert status == 1


def test_good_pictures_alone_end_with_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "predict", "pictures/red.png", "pictures/b*e.png")
    assert [line.split()[1] for line in out.splitlines()] == ["red", "blue"]
    assert (status, err) == (0, "")


def test_dash_is_the_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(colour("red"))))
    status, out, err = run(capsys, "predict", "-", "pictures/blue.png")
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["-", "red"],
        ["pictures/blue.png", "blue"],
    ]
    assert (status, err) == (0, "")


def test_empty_standard_input_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    status, _, err = run(capsys, "predict", "-")
    assert "  -: The upload is empty" in err
    assert status == 1


def test_csv_is_quoted_as_readers_expect(
    capsys: pytest.CaptureFixture[str], pictures: Path
) -> None:
    odd = pictures / 'a, "b"\nc.png'
    odd.write_bytes(colour("blue"))
    status, out, _ = run(capsys, "predict", str(odd), "nowhere", "--format=csv", "--top-k=2")
    good, bad = csv.DictReader(io.StringIO(out))
    assert good["path"] == str(odd)
    assert (good["label"], good["probability"]) == ("blue", "0.964663")
    assert (good["label_2"], good["probability_2"]) == ("red", "0.017668")
    assert (good["unfamiliar"], good["error"]) == ("false", "")
    assert bad == dict.fromkeys(good, "") | {"path": "nowhere", "error": bad["error"]}
    assert "No such file" in bad["error"]
    assert status == 1


def test_json_lines_have_the_form_of_the_api(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "predict", "pictures", "--format=jsonl", "--top-k=1")
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[1] == {
        "path": "pictures/blue.png",
        "predictions": [{"label": "blue", "class_id": 2, "probability": 0.964663}],
        "unfamiliar": False,
        "image": {"width": 16, "height": 12, "format": "PNG"},
    }
    assert lines[2].keys() == {"path", "error"}
    assert [line.get("unfamiliar") for line in lines] == [True, False, None, False]
    assert status == 1


@pytest.mark.parametrize("format_", ["table", "csv", "jsonl"])
def test_file_name_that_is_not_text_is_escaped(
    capsysbinary: pytest.CaptureFixture[bytes], pictures: Path, format_: str
) -> None:
    odd = os.fsdecode(os.fsencode(pictures) + b"/caf\xe9\x1b[2J.png")
    Path(odd).write_bytes(colour("blue"))
    assert cli.main(["predict", odd, "--format", format_]) == 0
    out = capsysbinary.readouterr().out
    assert b"blue" in out
    assert b"udce9" in out
    assert (b"\x1b" in out) == (format_ == "csv")


def test_arguments_choose_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    write_model(Path("others"), "dim", 3, energy_threshold=9)
    options = ("--models=others", "--model=dim", "--version=3")
    status, out, _ = run(capsys, "predict", "pictures/red.png", *options)
    assert out.split()[1:] == ["red", "96.5%", "unfamiliar"]
    assert status == 0


def test_version_folder_alone_is_used_listed_and_verified(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = write_model(Path("others"), "dim", 3, energy_threshold=9).rename("mounted")
    options = ("--models=mounted", "--model=any")
    status, out, _ = run(capsys, "predict", "pictures/red.png", *options)
    assert (status, out.split()[1:]) == (0, ["red", "96.5%", "unfamiliar"])
    status, out, _ = run(capsys, "models", "list", "--models=mounted")
    assert (status, out.splitlines()[1].split()[:3]) == (0, ["dim", "3", "model.onnx"])
    status, out, _ = run(capsys, "models", "verify", "--models=mounted")
    assert (status, out) == (0, f"{folder / 'model.onnx'}: ok\n")


def test_variant_of_the_settings_is_used(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR10_VARIANT", "model.int8.onnx")
    status, _, err = run(capsys, "predict", "pictures/red.png")
    assert "no 'model.int8.onnx'; these are there: model.onnx." in err
    assert status == 1


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--model=none"], 1, "There is no model 'none'"),
        (["--version=9"], 1, "no version 9; these are there: 1."),
        (["--version=new"], 2, "model_version: "),
        (["--top-k=4"], 2, "the model has 3 classes"),
        (["--top-k=0"], 2, "ask for 1 to 3"),
    ],
)
def test_wrong_argument_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, text: str
) -> None:
    found, out, err = run(capsys, "predict", "pictures", *arguments)
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert text in line
    assert (found, out) == (status, "")


def test_settings_that_contradict_each_other_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR10_RATE_LIMIT", "5/minute")
    status, _, err = run(capsys, "predict", "pictures")
    (line,) = err.splitlines()
    assert line.startswith("error: Value error, rate_limit counts by key")
    assert status == 2


def test_ctrl_c_is_one_line_and_status_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "classify", interrupted)
    assert run(capsys, "predict", "pictures") == (130, "", "error: interrupted\n")


def test_terminal_shows_a_progress_bar_and_whole_rows() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [sys.executable, "-m", "service.cli", "predict", "pictures/red.png"]
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    out, _ = process.communicate(timeout=60)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "1/1" in shown
    assert "pictures/s" in shown
    assert out.split()[1:] == [b"red", b"96.5%"]


def test_closed_output_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "service.cli", "predict", "pictures/red.png"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, env=environment, check=False, timeout=60
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_models_are_listed_with_their_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_model(Path("models"), version=10, size=(8, 12))
    card = json.loads((folder / "card.json").read_text())
    card["metrics"] = {"model.onnx": {"validation": {"accuracy": 0.5}, "test": {"accuracy": 0.25}}}
    (folder / "card.json").write_text(json.dumps(card))
    status, out, err = run(capsys, "models", "list")
    rows = [line.split() for line in out.splitlines()]
    assert rows == [
        ["model", "version", "file", "size", "accuracy", "input", "classes"],
        ["tiny", "1", "model.onnx", "0.0", "MB", "8", "x", "8", "3"],
        ["tiny", "10", "model.onnx", "0.0", "MB", "25.00%", "(test)", "12", "x", "8", "3"],
    ]
    assert (status, err) == (0, "")


@pytest.mark.parametrize("action", ["list", "verify"])
def test_unreadable_card_does_not_hide_the_others(
    capsys: pytest.CaptureFixture[str], action: str
) -> None:
    (write_model(Path("models"), version=2) / "card.json").write_text("{}")
    write_model(Path("models"), version=3)
    status, out, err = run(capsys, "models", action)
    assert "card.json is not a model card: name: " in out + err
    assert "3" in out.splitlines()[-1]
    assert status == 1


def test_tampered_model_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    with (write_model(Path("models"), version=2) / "model.onnx").open("ab") as file:
        file.write(b"\0")
    status, out, _ = run(capsys, "models", "verify")
    good, bad = out.splitlines()
    assert good == "models/tiny/1/model.onnx: ok"
    assert bad.startswith("models/tiny/2/model.onnx: ")
    assert "sha256" in bad
    assert status == 1


def test_every_file_of_a_version_is_verified(capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_model(Path("models"), version=2)
    with add_variant(folder, "int8").open("ab") as file:
        file.write(b"\0")
    add_variant(folder, "float16")
    status, out, _ = run(capsys, "models", "verify")
    _, first, int8, fp16 = out.splitlines()
    assert first == "models/tiny/2/model.onnx: ok"
    assert "model.int8.onnx has not the sha256" in int8
    assert fp16 == "models/tiny/2/model.fp16.onnx: ok"
    assert status == 1


def test_empty_repository_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    for action in ("list", "verify"):
        status, _, err = run(capsys, "models", action, "--models=pictures")
        assert err.startswith("error: There are no models in ")
        assert status == 1


def test_each_file_is_opened_and_the_changed_one_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    with add_variant(folder, "int8").open("ab") as file:
        file.write(b"\0")
    add_variant(folder, "float16")
    outcomes = dict(cli.verify(folder))
    assert outcomes["model.onnx"] is outcomes["model.fp16.onnx"] is None
    assert "sha256" in str(outcomes["model.int8.onnx"])


def test_bad_card_is_the_only_outcome(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    (folder / "card.json").write_text("{}")
    ((file, refusal),) = cli.verify(folder)
    assert file == "card.json"
    assert "is not a model card" in str(refusal)


def test_file_that_contradicts_its_card_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    card = folder / "card.json"
    card.write_text(card.read_text().replace('"red"', '"rot"'))
    ((file, refusal),) = cli.verify(folder)
    assert file == "model.onnx"
    assert "disagree on 'labels'" in str(refusal)
