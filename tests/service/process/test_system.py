"""Signals that arrive as messages, how processes end, and what a process sets for itself."""

import os
import signal
import subprocess
import sys
import threading
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from service.process.system import SIGNALS, blocked_signals, describe_exit, received_signals


@pytest.mark.parametrize(
    ("code", "description"),
    [
        (None, "It ended with status None."),
        (3, "It ended with status 3."),
        (-signal.SIGTERM, "It was ended by SIGTERM."),
        (-signal.SIGKILL, "It was ended by SIGKILL, as when memory is short."),
        (-40, "It was ended by signal 40."),
    ],
)
def test_exit_is_described(code: int | None, description: str) -> None:
    assert describe_exit(code) == description


def test_signals_arrive_in_order_and_handlers_are_restored() -> None:
    before = [signal.getsignal(which) for which in SIGNALS]
    with received_signals() as signals:
        for which in SIGNALS:
            os.kill(os.getpid(), which)
            assert wait([signals], 10)
            assert signals.recv() == which
    assert [signal.getsignal(which) for which in SIGNALS] == before


def test_blocked_signals_wait() -> None:
    with received_signals() as signals:
        with blocked_signals():
            signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
            assert not wait([signals], 0.1)
        assert wait([signals], 10)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
@pytest.mark.parametrize(
    ("before", "module", "forks"),
    [
        ("pass", "service.process.worker", True),
        ("import service.cli.main", "service.process.worker", True),
        ("pass", "tests.nowhere", True),  # the worker reports it
        ("threading.Thread(target=threading.Event().wait, daemon=True).start()", "this", False),
        ("sys.path.insert(0, sys.argv[1])", "starts_a_thread", False),
    ],
    ids=["worker", "after the command line", "missing module", "thread", "module with a thread"],
)
def test_process_is_forked_if_it_has_one_thread(
    tmp_path: Path, before: str, module: str, forks: bool
) -> None:
    (tmp_path / "starts_a_thread.py").write_text(
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    script = (
        f"import gc, sys, threading; from service.process.system import import_to_fork; {before};"
        f"print(import_to_fork({module!r}), gc.isenabled())"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    assert subprocess.check_output(command, text=True) == f"{forks} True\n"


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
