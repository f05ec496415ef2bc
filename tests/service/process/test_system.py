"""What a process sets for itself."""

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such policies")
def test_batch_scheduling_replaces_the_default_policy_alone() -> None:
    script = (
        "import os; from service.process.system import use_batch_scheduling;"
        "os.sched_setscheduler(0, int(os.environ['POLICY']), os.sched_param(0));"
        "use_batch_scheduling(); print(os.sched_getscheduler(0))"
    )

    def policy_after(policy: int) -> int:
        environment = os.environ | {"POLICY": str(policy)}
        return int(subprocess.check_output([sys.executable, "-c", script], env=environment))

    assert policy_after(os.SCHED_OTHER) == os.SCHED_BATCH
    assert policy_after(os.SCHED_IDLE) == os.SCHED_IDLE


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limits")
def test_limit_of_open_files_is_raised_to_the_hard_limit() -> None:
    script = (
        "import resource; from service.process.system import raise_open_file_limit;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 100)); raise_open_file_limit();"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "(100, 100)\n"


@pytest.mark.skipif(sys.platform != "linux", reason="is for glibc")
def test_memory_of_large_pictures_is_returned() -> None:
    """By default a freed block of 30 MB is kept while a small one lies above it."""
    script = (
        "import psutil; from service.process.system import return_freed_memory;"
        "return_freed_memory();"
        "memory = psutil.Process().memory_info;"
        "bytearray(31_000_000); before = memory().rss;"  # raises the threshold of malloc
        "large = bytearray(30_000_000); small = [bytes(1000) for _ in range(1000)]; del large;"
        "print(memory().rss - before < 10_000_000)"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "True\n"
