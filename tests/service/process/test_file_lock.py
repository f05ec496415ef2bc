"""The lock for large pictures, over threads and processes."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from service.errors import QueueFullError
from service.process.file_lock import LargePictureLock

HOLD = """
import sys, time
from service.process.file_lock import LargePictureLock
with LargePictureLock(sys.argv[1], 10):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_thread_holds_the_lock_at_a_time(tmp_path: Path) -> None:
    lock = LargePictureLock(tmp_path / "lock", 10)
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
        with pytest.raises(QueueFullError, match="large pictures"), LargePictureLock(path, 0.05):
            pass
        holder.kill()
        with LargePictureLock(path, 10):
            pass


def test_error_inside_releases_the_lock(tmp_path: Path) -> None:
    lock = LargePictureLock(tmp_path / "lock", 0)
    for _ in range(2):
        with pytest.raises(ValueError, match="inside"), lock:
            raise ValueError("inside")


def test_file_that_cannot_be_opened_is_a_full_queue(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(QueueFullError), LargePictureLock(tmp_path / "file" / "lock", 10):
        pass
