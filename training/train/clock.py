"""How long an epoch takes, also where its run is interrupted."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from training.files import write_whole


@dataclass(frozen=True)
class Spent:
    """Time that was spent on an epoch.

    Attributes:
        epoch: counted from 0.
        seconds: elapsed time; where the process or the machine paused, that counts too.
        processor_seconds: of all threads of this process.
    """

    epoch: int
    seconds: float = 0.0
    processor_seconds: float = 0.0


class Clock:
    """Measures each epoch, and keeps in a file what was spent on the one that is not finished."""

    def __init__(self, path: Path) -> None:
        """Go on with what the file says, if there is one."""
        self._path = path
        self._before = _read(path)
        self._begin = _now(-1)

    def start(self, epoch: int) -> None:
        """Begin an epoch, or go on with it where it is the one that was interrupted."""
        if self._before.epoch != epoch:
            self._before = Spent(epoch)
        self._begin = _now(epoch)

    def spent(self) -> Spent:
        """What was spent on the epoch."""
        before, begin, now = self._before, self._begin, _now(self._before.epoch)
        return Spent(
            before.epoch,
            before.seconds + now.seconds - begin.seconds,
            before.processor_seconds + now.processor_seconds - begin.processor_seconds,
        )

    def save(self) -> None:
        """Write the file; after the checkpoint, so that it is never ahead of it."""
        text = json.dumps(asdict(self.spent()))
        write_whole(self._path, lambda path: path.write_text(text))


def _now(epoch: int) -> Spent:
    return Spent(epoch, time.perf_counter(), time.process_time())


def _read(path: Path) -> Spent:
    try:
        return Spent(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):  # none, or one that is damaged: only time is lost
        return Spent(-1)
