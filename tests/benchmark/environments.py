"""A virtual environment for each server, as its own requirement file says."""

import hashlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from uv import find_uv_bin

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-bench"
INSTALL_TIMEOUT_S = 600


class InstallError(Exception):
    """An environment cannot be built."""


def ensure(name: str, requirements: Path) -> Path:
    """Builds the environment unless it is there already.

    Returns:
        Its Python.

    Raises:
        InstallError: it cannot be built.
    """
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = folder / "requirements.sha256"
    if not (stamp.exists() and stamp.read_text() == wanted):
        print(f"installing {name} ...", flush=True)
        _uv("venv", "--clear", "--python", sys.executable, folder)
        # As pip does: else the first start of each module would pay for its compilation.
        _uv("pip", "install", "--compile-bytecode", "--python", python, "-r", requirements)
        stamp.write_text(wanted)
    return python


def version(python: Path, package: str) -> str:
    """The version of a package that is installed beside a Python."""
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    (found,) = metadata.distributions(name=package, path=[str(site)])
    return found.version


def _uv(*arguments: str | Path) -> None:
    command = [find_uv_bin(), *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"installing took longer than {INSTALL_TIMEOUT_S} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["uv failed"]
        raise InstallError(lines[-1].strip())
