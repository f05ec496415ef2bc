"""CPUs and memory within the limits of a container."""

import os
from pathlib import Path

import pytest

from service.hardware import available_cpus, available_memory


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 16),
        ({"cpu.max": "max 100000"}, 16),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "3200000 100000"}, 16),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 16),
        ({"cpu.max": "nonsense"}, 16),
    ],
)
def test_quota_of_the_container_limits_the_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(16)), raising=False)
    assert available_cpus(write(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"memory.max": "max"}, None),
        ({"memory.max": "536870912"}, 536870912),
        ({"memory/memory.limit_in_bytes": "536870912"}, 536870912),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
    ],
)
def test_limit_of_the_container_limits_the_memory(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert available_memory(write(tmp_path, files)) == (expected or physical)
