"""CPUs, memory and GPU driver that this process can use, within the limits of its container."""

import contextlib
import ctypes
import math
import os
import sys
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = _CGROUP) -> int:
    """Number of CPUs that this process may use: its affinity, within the container's quota."""
    # Only Linux has CPU affinity.
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    cpus = len(affinity) or os.cpu_count() or 1
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        with contextlib.suppress(OSError, ValueError):  # the other version of cgroups, or "max"
            words = " ".join((cgroup / file).read_text() for file in files).split()
            quota, period = map(float, words)
            if quota > 0 and period > 0:
                return min(cpus, math.ceil(quota / period))
    return cpus


def available_memory(cgroup: Path = _CGROUP) -> float:
    """Memory that this process may use, in bytes: the machine's, within the container's limit."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # the other version of cgroups, or "max"
            return min(physical, float((cgroup / file).read_text()))
    return physical


def nvidia_driver_visible() -> bool:
    """Whether this process can load the library of the NVIDIA driver."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def wants_cuda(provider: str, *, required: bool) -> bool:
    """Whether the settings ask for CUDA; `auto` does if there is a driver."""
    return required or provider == "cuda" or (provider == "auto" and nvidia_driver_visible())
