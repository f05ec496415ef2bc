"""What this machine, or the container on it, offers."""

import contextlib
import ctypes
import math
import os
import sys
from pathlib import Path

# Of glibc: allocations from this size on are given back to the machine when they are freed.
_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1_000_000
_OPEN_FILES = 65_536

_CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = _CGROUP) -> int:
    """CPUs that this process may use: its affinity, within the container's quota."""
    # Only Linux knows an affinity.
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    cpus = len(affinity) or os.cpu_count() or 1
    return math.ceil(min(cpus, _cpu_quota(cgroup)))


def available_memory(cgroup: Path = _CGROUP) -> float:
    """Bytes of memory that this process may use: the machine's, within the container's limit."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(physical, _memory_limit(cgroup))


def nvidia_driver_visible() -> bool:
    """Whether this process can load the library of an NVIDIA driver."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def return_freed_memory() -> None:
    """Gives back what a large picture took, where glibc would keep it for the next one."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def use_batch_scheduling() -> None:
    """Has threads of this process, and of its children, not interrupt each other when they wake.

    Else each upload would take the processor from the batch that is computed, for as long as it
    takes to read it. Idle processors are taken as fast as ever.
    """
    with contextlib.suppress(OSError, AttributeError):  # a sandbox; not Linux
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def raise_open_file_limit() -> None:
    """Lets this process and its children have thousands of connections, as far as they may."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows; a sandbox
        import resource

        now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= now < _OPEN_FILES:
            wanted = _OPEN_FILES if most == resource.RLIM_INFINITY else min(most, _OPEN_FILES)
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _cpu_quota(cgroup: Path) -> float:
    """CPU quota of the control group in CPUs; infinite without one."""
    for read in (_cpu_quota_v2, _cpu_quota_v1):
        try:
            quota, period = read(cgroup)
        except (OSError, ValueError):
            continue
        if quota > 0 and period > 0:
            return quota / period
    return math.inf


def _cpu_quota_v2(cgroup: Path) -> tuple[float, float]:
    quota, period = (cgroup / "cpu.max").read_text().split()
    return (math.inf if quota == "max" else float(quota)), float(period)


def _cpu_quota_v1(cgroup: Path) -> tuple[float, float]:
    cpu = cgroup / "cpu"
    return (
        float((cpu / "cpu.cfs_quota_us").read_text()),
        float((cpu / "cpu.cfs_period_us").read_text()),
    )


def _memory_limit(cgroup: Path) -> float:
    """Memory limit of the control group in bytes; infinite without one."""
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = (cgroup / file).read_text().strip()
            return math.inf if limit == "max" else float(limit)
        except (OSError, ValueError):
            continue
    return math.inf
