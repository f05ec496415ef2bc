"""What a process sets for itself: memory, scheduling, open files."""

import contextlib
import ctypes
import os

# Of glibc: allocations of this size and above are returned to the system when they are freed.
_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1_000_000
_OPEN_FILES = 65_536


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
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows; a sandbox
        import resource

        now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= now < _OPEN_FILES:
            wanted = _OPEN_FILES if most == resource.RLIM_INFINITY else min(most, _OPEN_FILES)
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
