"""The built package, unpacked beside the packages of this environment, in an empty folder."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from service.inference import repository
from tests.e2e import web
from tests.e2e.conftest import Server, launch
from tests.service.conftest import colour
from tests.service.models import write_model
from tests.shipped import VERSION

ROOT = Path(__file__).parents[2]
CAT = ROOT / "tests" / "data" / "cat.jpg"
# What a wheel is built from; a copy, as setuptools writes beside it.
SOURCES = ("LICENSE", "README.md", "models", "pyproject.toml", "service", "training")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the unpacked package."""
    folder = tmp_path_factory.mktemp("package")
    copy = folder / "sources"
    copy.mkdir()
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, copy / name, symlinks=True)
        else:
            shutil.copy(path, copy)
    options = ("--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    command = [sys.executable, "-m", "pip", "wheel", *options, f"--wheel-dir={folder}", str(copy)]
    subprocess.run(command, check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `cifar10-serve` of the package in a folder."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CIFAR10_")}
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        cwd=folder,
        env=inherited | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_package_brings_the_default_version_and_its_file_for_cpus(installed: Path) -> None:
    newest = repository.load(ROOT / "models", "cifar10").folder
    brought = installed / "service" / "default_models"
    files = {str(path.relative_to(brought)) for path in brought.rglob("*") if path.is_file()}
    names = ("card.json", "model.int8.onnx")
    assert files == {f"cifar10/{newest.name}/{name}" for name in names}
    for name in names:
        copied = brought / "cifar10" / newest.name / name
        assert copied.read_bytes() == (newest / name).read_bytes()


def test_installed_command_answers_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    shutil.copy(CAT, tmp_path)
    done = run(installed, tmp_path, "predict", "cat.jpg")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[:2] == ["cat.jpg", "cat"]
    listed = run(installed, tmp_path, "models", "list").stdout.splitlines()
    assert [line.split()[:3] for line in listed[1:]] == [["cifar10", VERSION, "model.int8.onnx"]]
    assert run(installed, tmp_path, "models", "verify").returncode == 0


def test_installed_service_answers_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    with serve(installed, tmp_path) as server:
        answer = web.post(f"{server.url}/predict", content=CAT.read_bytes()).json()
        assert (answer["model"], answer["version"]) == ("cifar10", VERSION)
        assert answer["predictions"][0]["label"] == "cat"
        health = web.get(f"{server.url}/health").json()
        assert health["variant"] == "model.int8.onnx"


def test_other_repositories_go_before_the_one_of_the_package(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "red.png").write_bytes(colour("red"))
    write_model(tmp_path / "models")
    write_model(tmp_path / "others", "dim", labels=["rot", "gruen", "blau"])
    assert run(installed, tmp_path, "predict", "red.png").stdout.split()[1] == "red"
    done = run(installed, tmp_path, "predict", "red.png", "--models=others", "--format=jsonl")
    assert json.loads(done.stdout)["predictions"][0]["label"] == "rot"
    with serve(installed, tmp_path, models="others") as server:
        assert web.get(f"{server.url}/health").json()["model"] == "dim"


def serve(installed: Path, folder: Path, **settings: object) -> Server:
    """Starts the service of the package in a folder."""
    before = ("env", "--chdir", str(folder))
    log = folder / "log"
    return launch(log, settings, before, PYTHONPATH=str(installed)).wait_until_ready()
