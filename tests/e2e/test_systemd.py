"""The unit of systemd: its syntax, its limits, and whether it starts what is installed."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from service.process.lifecycle import EXIT_S, GRACE_S
from service.settings import Settings

UNIT = Path("docker/cifar10-serve.service")
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
# The highest exposure that is accepted, of 100; a unit without any limits has 96.
MOST_EXPOSED = 20


def values(name: str) -> list[str]:
    """What a directive is set to, each time that it stands in the unit."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def installed(folder: Path, *, with_keys: bool) -> Path:
    """The unit with a program that exists, and the lines for keys as comments or not."""
    text = UNIT.read_text().replace("/opt/cifar10-serve/bin/cifar10-serve", sys.executable)
    if with_keys:
        text, count = re.subn(r"^#(?=[A-Z]\w+=)", "", text, flags=re.MULTILINE)
        assert count == 2
    unit = folder / UNIT.name
    unit.write_text(text)
    return unit


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, check=False)


@needs_systemd
@pytest.mark.parametrize("with_keys", [False, True])
def test_systemd_finds_no_fault(tmp_path: Path, with_keys: bool) -> None:
    unit = installed(tmp_path, with_keys=with_keys)
    result = analyze("verify", "--man=no", str(unit))
    assert unit.name not in result.stdout + result.stderr
    assert result.returncode == 0, result.stderr


@needs_systemd
def test_systemd_finds_a_fault(tmp_path: Path) -> None:
    unit = installed(tmp_path, with_keys=False)
    unit.write_text(unit.read_text().replace("KillMode=mixed", "KillMode=gently"))
    assert unit.name in analyze("verify", "--man=no", str(unit)).stderr


@needs_systemd
def test_service_is_confined(tmp_path: Path) -> None:
    unit = installed(tmp_path, with_keys=True)
    result = analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSED}", str(unit))
    assert result.returncode == 0, result.stdout


def test_unit_starts_the_command_that_is_installed() -> None:
    scripts = tomllib.loads(Path("pyproject.toml").read_text())["project"]["scripts"]
    (start,) = values("ExecStart")
    program, *arguments = start.split()
    assert Path(program).name in scripts
    assert arguments == ["serve"]


def test_service_has_the_time_that_it_takes_to_end() -> None:
    (seconds,) = values("TimeoutStopSec")
    assert int(seconds) >= Settings().drain_s + GRACE_S + EXIT_S


def test_settings_that_the_unit_names_exist() -> None:
    named = set(re.findall(r"CIFAR10_(\w+)", UNIT.read_text()))
    assert named <= {name.upper() for name in Settings.model_fields}
    assert named
