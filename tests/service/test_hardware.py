"""CPUs and memory within the limits of a container, or of a unit of systemd."""

import os
from pathlib import Path

import pytest

from service.hardware import available_cpus, available_memory


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
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
    assert available_cpus(write(tmp_path, files), tmp_path / "none") == expected


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
    assert available_memory(write(tmp_path, files), tmp_path / "none") == (expected or physical)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/a.slice/x.service", {"a.slice/x.service/cpu.max": "200000 100000"}, 2),
        ("0::/a.slice/x.service", {"a.slice/cpu.max": "300000 100000"}, 3),
        (
            "0::/a.slice/x.service",
            {"a.slice/cpu.max": "300000 100000", "a.slice/x.service/cpu.max": "max 100000"},
            3,
        ),
        ("0::/a.slice/x.service", {"a.slice/y.service/cpu.max": "200000 100000"}, 16),
        ("0::/../b", {"b/cpu.max": "200000 100000", "cpu.max": "400000 100000"}, 4),
        (
            "5:memory:/\n4:cpu,cpuacct:/a\n0::/",
            {"cpu/a/cpu.cfs_quota_us": "200000", "cpu/a/cpu.cfs_period_us": "100000"},
            2,
        ),
        ("nonsense", {"cpu.max": "200000 100000"}, 2),
    ],
)
def test_quotas_of_the_own_group_and_of_those_above_it_limit_the_cpus(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    membership: str,
    files: dict[str, str],
    expected: int,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(16)), raising=False)
    write(tmp_path, {"membership": membership})
    cgroup = write(tmp_path / "cgroup", files)
    assert available_cpus(cgroup, tmp_path / "membership") == expected


def test_limit_of_the_own_group_limits_the_memory(tmp_path: Path) -> None:
    write(tmp_path, {"membership": "0::/a.slice/x.service"})
    files = {"a.slice/memory.max": "536870912", "a.slice/x.service/memory.max": "268435456"}
    memory = available_memory(write(tmp_path / "cgroup", files), tmp_path / "membership")
    assert memory == 268435456
