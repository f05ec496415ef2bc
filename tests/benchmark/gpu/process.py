"""A part in a process of its own: what it breaks or leaves behind reaches no other part."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from tests.benchmark.gpu.results import Finding, Part


def run(part: Part, arguments: Sequence[str], limit_s: float) -> Iterator[Finding]:
    """Runs a part; gives its findings as they come, and notes them, its time and its error.

    It is killed, with all that it has started, when its time is up or nobody wants more of it.
    """
    if limit_s <= 0:
        part.error = "it was not run: no time was left for it"
        return
    started = time.monotonic()
    command = [sys.executable, "-m", "tests.benchmark.gpu.part", part.name, *arguments]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, process_group=0
        ) as process,
    ):
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            _kill(process)

        timer = threading.Timer(limit_s, end)
        timer.start()
        try:
            assert process.stdout
            for line in process.stdout:
                part.findings.append(Finding(**json.loads(line)))
                yield part.findings[-1]
            process.wait()
        finally:
            timer.cancel()
            _kill(process)
            part.seconds = time.monotonic() - started
        if is_late.is_set():
            part.error = f"it took longer than {limit_s:.0f} s"
        elif process.returncode:
            errors.seek(0)
            lines = errors.read().strip().splitlines()
            part.error = lines[-1] if lines else f"it ended with status {process.returncode}"


def _kill(process: subprocess.Popen[str]) -> None:
    """Kills a part with all that it has started, which is in its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
