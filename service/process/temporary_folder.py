"""The folder for the temporary files that all workers share."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_WORKER_FILES_BYTES = 1_000_000


@contextlib.contextmanager
def temporary_folder(workers: int) -> Iterator[Path]:
    """Makes a folder with room for the files of so many workers; it is removed at the end.

    The metrics of all workers are shared in it, which `PROMETHEUS_MULTIPROC_DIR` says.

    Raises:
        OSError: there is no such folder, or its disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="cifar10-serve-") as folder:
        # Workers map their metrics into memory: a full disk ends them by a signal.
        if shutil.disk_usage(folder).free < workers * _WORKER_FILES_BYTES:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {folder}")
        metrics = Path(folder) / "metrics"
        metrics.mkdir()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
        try:
            yield Path(folder)
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]
