"""Checks that models fit into memory, before they are loaded."""

from pathlib import Path

from service.errors import ModelRefusedError
from service.hardware import available_memory
from service.settings import LOADING_FACTOR, SESSION_FACTOR, Settings


class MemoryBudget:
    """The memory for the models of the next snapshot, in all workers."""

    def __init__(self, settings: Settings, present: int) -> None:
        """Counts the present models, whose files have so many bytes."""
        self._workers = settings.worker_count
        self._present = present
        self._added = 0

    def add(self, path: Path, size: int) -> None:
        """Counts a file to load; every worker loads it beside the models that it serves.

        Raises:
            ModelRefusedError: it does not fit.
        """
        added = self._added + size
        each = SESSION_FACTOR * self._present + LOADING_FACTOR * added
        # All workers share the files.
        needed = self._workers * each + self._present + added
        if needed > (there := available_memory()):
            raise ModelRefusedError(
                f"{path} does not fit: with its {size / 1e6:,.0f} MB the models need "
                f"{needed / 1e6:,.0f} MB of memory while they are loaded by {self._workers} "
                f"workers, and there are {there / 1e6:,.0f} MB; set CIFAR10_WORKERS lower, or "
                "serve fewer models."
            )
        self._added = added
