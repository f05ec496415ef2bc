"""One at a time, over threads and processes."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from service.errors import QueueFullError
from service.process.file_lock import FileLock

HOLD = """
import sys, time
from pathlib import Path
from service.process.file_lock import FileLock
with FileLock(Path(sys.argv[1]), 10):
    print("held", flush=True)
    time.sleep(60)
"""


def test_threads_take_turns(tmp_path: Path) -> None:
    turn = FileLock(tmp_path / "turn", 10)
    inside = most = 0

    def work() -> None:
        nonlocal inside, most
        with turn:
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


def test_turn_comes_when_a_killed_process_held_it(tmp_path: Path) -> None:
    path = tmp_path / "turn"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(QueueFullError, match="large pictures"), FileLock(path, 0.05):
            pass
        holder.kill()
        with FileLock(path, 10):
            pass


def test_error_inside_passes_the_turn_on(tmp_path: Path) -> None:
    turn = FileLock(tmp_path / "turn", 0)
    for _ in range(2):
        with pytest.raises(ValueError, match="inside"), turn:
            raise ValueError("inside")


def test_file_that_cannot_be_opened_is_no_turn(tmp_path: Path) -> None:
    with pytest.raises(QueueFullError), FileLock(tmp_path / "gone" / "turn", 10):
        pass
