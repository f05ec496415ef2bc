"""Import contracts: each of them fails as soon as an import breaks it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LINT_IMPORTS = str(Path(sys.executable).with_name("lint-imports"))

# By contract: a file, and an import that may not stand in it.
BROKEN = {
    "The service imports downwards": ("service/inference/decoding.py", "service.http.problems"),
    "No cycles": ("service/process/sockets.py", "service.process.worker"),
    "Service and training know nothing of each other": ("service/errors.py", "training.errors"),
    "ONNX Runtime is used by the engines alone": ("service/http/app.py", "onnxruntime"),
    "uvicorn is used by the protocol and the worker alone": ("service/http/app.py", "uvicorn"),
    "prometheus_client is used by metrics and metric_files alone": (
        "service/http/routes/health.py",
        "prometheus_client",
    ),
    "gRPC stays in grpc": ("service/v2/model.py", "grpc"),
    "Ray stays in one file": ("service/cluster/replica.py", "ray"),
    "HTTP stays in http": ("service/inference/classifier.py", "starlette"),
    "The service never needs TensorFlow": ("service/inference/engine.py", "tensorflow"),
    "Training imports downwards": ("training/data/reader.py", "training.export.parity"),
    "Data, figures and cards are read without TensorFlow": (
        "training/publish/card.py",
        "tensorflow",
    ),
}


def lint(folder: Path) -> tuple[int, str]:
    """The exit status of the contracts and what is said of them."""
    command = [LINT_IMPORTS, "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the contracts are about."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy("pyproject.toml", folder)
    for package in ("service", "training"):
        shutil.copytree(package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_contracts_are_kept(copy: Path) -> None:
    status, said = lint(copy)
    assert status == 0, said
    assert said.count(" KEPT") == len(BROKEN)


@pytest.mark.parametrize("contract", BROKEN)
def test_contract_that_is_broken_fails(copy: Path, contract: str) -> None:
    file, imported = BROKEN[contract]
    path = copy / file
    source = path.read_text()
    path.write_text(f"{source}\nimport {imported}\n")
    try:
        status, said = lint(copy)
    finally:
        path.write_text(source)
    assert status == 1
    assert f"{contract} BROKEN" in said
