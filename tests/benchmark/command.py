"""What the commands of this package have in common: two cores, and a report that comes by lines."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmark.servers import StartError

CORES = 2


def pin() -> None:
    """Keeps this process, and all servers and wrk that it starts from now on, to two cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


def print_lines(measure: Callable[[Path], Iterator[str]]) -> int:
    """Measures on two cores and prints each line as it comes.

    Args:
        measure: takes a folder for its files, which is deleted afterwards.

    Returns:
        The exit status: 1 if something could not be measured, which is said in one line.
    """
    pin()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            for line in measure(Path(scratch)):
                print(line, flush=True)
    except (OSError, RuntimeError, StartError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
