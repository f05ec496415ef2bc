"""How much memory a change of model takes in one process, on the host and on its GPUs."""

import gc
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from service.inference.repository import StoredModel
from service.inference.served_model import LOAD_ALL
from service.inference.snapshot_builder import build_snapshot
from service.settings import Settings

_SAMPLE_S = 0.05


class Memory(NamedTuple):
    """Resident memory of this process, and what is used on all GPUs (0 without any), in MB."""

    host: float
    gpu: float

    def __str__(self) -> str:
        """The two in words."""
        return f"{self.host:,.0f} MB" + (f" and {self.gpu:,.0f} MB on the GPU" if self.gpu else "")


class Peak:
    """The most memory that is seen in a `with` block."""

    def __init__(self) -> None:
        """Has seen nothing yet."""
        self.most = measure()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            now = measure()
            self.most = Memory(max(self.most.host, now.host), max(self.most.gpu, now.gpu))


def measure() -> Memory:
    """The memory at present."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        gpus = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        gpus = []
    return Memory(int(found[1]) * 1024 / 1e6, sum(map(float, gpus)) * 2**20 / 1e6)


def change(stored: StoredModel, settings: Settings) -> tuple[Memory, Memory, Memory]:
    """Serves a model, and then a copy of it as a new version.

    Returns:
        The memory with the first, at most during the change, and with the second alone.

    Raises:
        StartupError: the model cannot be loaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        copied = settings.model_copy(
            update={"models": models, "model": "copy", "model_version": "latest"}
        )
        shutil.copytree(stored.folder, models / "copy" / "1")
        present = build_snapshot(copied, LOAD_ALL)
        before = measure()
        shutil.copytree(stored.folder, models / "copy" / "2")
        with Peak() as peak:
            present = build_snapshot(copied, LOAD_ALL, present)
        gc.collect()
        assert present.find().version == 2
        return before, peak.most, measure()
