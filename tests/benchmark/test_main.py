"""The command itself, as `make bench` calls it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_command_names_what_is_missing() -> None:
    command = [sys.executable, "-m", "tests.benchmark", "--model", "nowhere/model.onnx"]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "nowhere" in result.stderr
