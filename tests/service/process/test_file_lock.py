"""The lock for huge pictures, over threads and processes."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from service.process.file_lock import FileLock

HOLD = """
import sys, time
from pathlib import Path
from service.process.file_lock import FileLock
with FileLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_thread_holds_the_lock_at_a_time(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    inside = most = 0

    def work() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_killed_process_releases_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        lock, entered = FileLock(path), threading.Event()

        def enter() -> None:
            with lock:
                entered.set()

        threading.Thread(target=enter).start()
        assert not entered.wait(0.1)
        holder.kill()
        assert entered.wait(10)


def test_error_inside_releases_the_lock(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    for _ in range(2):
        with pytest.raises(ValueError, match="inside"), lock:
            raise ValueError("inside")


def test_those_who_wait_enter_in_their_order(tmp_path: Path) -> None:
    """By locks of their own, as those of other processes are."""
    entered: list[int] = []

    def enter(number: int) -> None:
        with FileLock(tmp_path / "lock"):
            entered.append(number)

    with FileLock(tmp_path / "lock"):
        threads = [threading.Thread(target=enter, args=(number,)) for number in range(5)]
        before = waiting()
        for number, thread in enumerate(threads, 1):
            thread.start()
            ends_at = time.monotonic() + 10
            while waiting() < before + number:
                assert time.monotonic() < ends_at
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert entered == [0, 1, 2, 3, 4]


def waiting() -> int:
    """How many threads of this process wait for a lock, as the kernel tells it."""
    # By the process: where file systems overlay others, the inode may not be that of `stat`.
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return sum("->" in line and str(os.getpid()) in line for line in lines)
