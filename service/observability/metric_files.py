"""The files in which worker processes share their metrics; see `metrics`."""

import os
from pathlib import Path

from prometheus_client import values
from prometheus_client.multiprocess import mark_process_dead

# A process has a file for each of these kinds, with room for some 25 versions of models.
ROOM = {
    "counter": 1_000_000,
    "histogram": 1_000_000,
    "gauge_livesum": 100_000,
    "gauge_livemax": 100_000,
}


def share_metrics(slot: int) -> None:
    """Keeps the metrics of this process in the files of a slot; call it before they are defined.

    A slot has one process at a time. Its counters start from those of the previous process; the
    gauges of that process are removed. The disk space is allocated now: the files are mapped into
    memory, and on a full disk a page that cannot be written ends the process by a signal.

    Raises:
        OSError: the disk is full.
    """
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None:
        return
    values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]
    forget_gauges(slot)
    for kind, size in ROOM.items():
        path = Path(folder) / f"{kind}_{slot}.db"
        if path.exists() or not hasattr(os, "posix_fallocate"):
            continue
        # Under another name at first: an empty file cannot be read by the other processes.
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        new.rename(path)


def forget_gauges(slot: int) -> None:
    """Removes the gauges of a process that has ended; its counters stay."""
    mark_process_dead(slot)  # type: ignore[no-untyped-call]
