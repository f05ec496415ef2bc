"""Signals, and what a process sets for itself: memory, scheduling, open files, a folder."""

import contextlib
import ctypes
import errno
import gc
import importlib
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

# Handled by the supervisor and blocked in workers: Ctrl-C goes to every process of a terminal.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_HINTS = {
    signal.SIGKILL: ", as when memory is short",
    signal.SIGBUS: ", as when the disk with the temporary files is full",
}
# Of glibc: allocations of this size and above are returned to the system when they are freed.
_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1_000_000
_OPEN_FILES = 65_536
_WORKER_FILES_BYTES = 2_500_000


def import_to_fork(module: str) -> bool:
    """Imports a module, for processes that are forked to run it; returns whether they can be.

    The forked processes share the modules with this one. They start in a fraction of the time and
    use the memory once. A fork also copies the locks that other threads hold, so this process may
    have one thread only. On other systems than Linux, system libraries start threads.
    """
    if sys.platform != "linux" or not _has_one_thread():
        return False
    if module not in sys.modules:
        # NumPy's library of linear algebra, which the service does not use, starts threads.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        gc.disable()  # garbage collection would take a fifth of the time
        with contextlib.suppress(Exception):  # it is raised again where the module is run
            importlib.import_module(module)
        gc.enable()
        # Garbage collection writes to the memory of the modules, which ends the sharing.
        gc.collect()
        gc.freeze()
    return _has_one_thread()


def _has_one_thread() -> bool:
    """Whether this process has one thread; threads that Python does not know of count, too."""
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:  # a sandbox
        return False


@contextlib.contextmanager
def received_signals() -> Iterator[Connection]:
    """Gives a connection on which each signal arrives as its number; see `connection.wait`."""
    inbox, outbox = get_context("spawn").Pipe(duplex=False)
    before = [signal.signal(which, lambda it, _frame: outbox.send(it)) for which in SIGNALS]
    try:
        yield inbox
    finally:
        for which, handler in zip(SIGNALS, before, strict=True):
            signal.signal(which, handler)


@contextlib.contextmanager
def blocked_signals() -> Iterator[None]:
    """Blocks the signals in this thread; a process that is started meanwhile inherits that."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def describe_exit(code: int | None) -> str:
    """Describes how a process ended, by the exit code that `multiprocessing` gives it."""
    if code is None or code >= 0:
        return f"It ended with status {code}."
    try:
        which = signal.Signals(-code)
    except ValueError:  # the real-time signals have no names
        return f"It was ended by signal {-code}."
    return f"It was ended by {which.name}{_HINTS.get(which, '')}."


def return_freed_memory() -> None:
    """Returns the memory of large pictures to the system; by default glibc may keep it."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def use_batch_scheduling() -> None:
    """Keeps threads of this process and its children from preempting each other on wake-up.

    Otherwise each upload that arrives interrupts the batch that is being computed. A thread that
    wakes up still gets an idle processor at once.
    """
    with contextlib.suppress(OSError, AttributeError):  # a sandbox; not Linux
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def raise_open_file_limit() -> None:
    """Raises the limit of open files, and so of connections, of this process and its children."""
    with contextlib.suppress(OSError, ValueError):  # a sandbox
        now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= now < _OPEN_FILES:
            wanted = _OPEN_FILES if most == resource.RLIM_INFINITY else min(most, _OPEN_FILES)
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


@contextlib.contextmanager
def temporary_folder(workers: int) -> Iterator[Path]:
    """Makes a folder with room for the files of so many workers; it is removed at the end.

    All workers share their metrics in it; `PROMETHEUS_MULTIPROC_DIR` names it.

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
