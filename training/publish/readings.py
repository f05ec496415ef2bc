"""The record of a run of how often the test split was read for it."""

import datetime as dt
import json
from pathlib import Path

from training.files import sync
from training.publish.artifact import sha256
from training.publish.card import Readings

RECORD = "test-readings.jsonl"


def record(run: Path, command: str, model: Path) -> None:
    """Add a line to the record of a run; call it before the split is used.

    Args:
        run: the run folder.
        command: that reads the split.
        model: the file that is measured.
    """
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    line = json.dumps({"time": now, "command": command, "sha256": sha256(model)})
    with (run / RECORD).open("a") as file:
        file.write(f"{line}\n")
    sync(run / RECORD)


def count(run: Path) -> Readings:
    """The readings for a run, and for all runs in the same folder."""
    every = {path: len(path.read_text().splitlines()) for path in run.parent.glob(f"*/{RECORD}")}
    return Readings(run=every.get(run / RECORD, 0), all_runs=sum(every.values()))
