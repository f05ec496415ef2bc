"""What the machine offers, within the limits of a container."""

import os
import subprocess
import sys
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
def test_quota_of_the_container_bounds_the_cpus(
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
def test_limit_of_the_container_bounds_the_memory(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert available_memory(write(tmp_path, files)) == (expected or physical)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such policies")
def test_threads_do_not_interrupt_each_other_unless_told_to() -> None:
    script = (
        "import os; from service.hardware import use_batch_scheduling;"
        "os.sched_setscheduler(0, int(os.environ['POLICY']), os.sched_param(0));"
        "use_batch_scheduling(); print(os.sched_getscheduler(0))"
    )

    def policy_after(policy: int) -> int:
        environment = os.environ | {"POLICY": str(policy)}
        return int(subprocess.check_output([sys.executable, "-c", script], env=environment))

    assert policy_after(os.SCHED_OTHER) == os.SCHED_BATCH
    assert policy_after(os.SCHED_IDLE) == os.SCHED_IDLE


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limits")
def test_as_many_files_may_be_open_as_allowed() -> None:
    script = (
        "import resource; from service.hardware import raise_open_file_limit;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 100)); raise_open_file_limit();"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "(100, 100)\n"


@pytest.mark.skipif(sys.platform != "linux", reason="is for glibc")
def test_memory_of_large_pictures_is_given_back() -> None:
    """Without it, what a freed block of 30 MB took is kept while a small one lies above it."""
    script = (
        "import psutil; from service.hardware import return_freed_memory; return_freed_memory();"
        "memory = psutil.Process().memory_info;"
        "bytearray(31_000_000); before = memory().rss;"  # raises the threshold of malloc
        "large = bytearray(30_000_000); small = [bytes(1000) for _ in range(1000)]; del large;"
        "print(memory().rss - before < 10_000_000)"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "True\n"
