"""CPUs, memory and GPU driver that this process can use, within the limits of its control group."""

import contextlib
import ctypes
import math
import os
import sys
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def available_cpus(cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """Number of CPUs that this process may use: its affinity, within the quotas on it.

    Args:
        cgroup: where control groups are mounted. In a container that is the container's own group.
        membership: the file that names the groups of this process, such as a unit of systemd.
    """
    # Only Linux has CPU affinity.
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    cpus = len(affinity) or os.cpu_count() or 1
    for group in _groups("cpu", cgroup, membership):
        for files in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
            with contextlib.suppress(OSError, ValueError):  # the other version, or "max"
                words = " ".join((group / file).read_text() for file in files).split()
                quota, period = map(float, words)
                if quota > 0 and period > 0:
                    cpus = min(cpus, math.ceil(quota / period))
    return cpus


def available_memory(cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> float:
    """Memory that this process may use, in bytes: the machine's, within the limits on it.

    Arguments are those of `available_cpus`.
    """
    memory: float = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for group in _groups("memory", cgroup, membership):
        for file in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # the other version, or "max"
                memory = min(memory, float((group / file).read_text()))
    return memory


def _groups(controller: str, cgroup: Path, membership: Path) -> set[Path]:
    """The folders of the groups that limit this process, of both versions of control groups."""
    found = {cgroup, cgroup / controller}
    with contextlib.suppress(OSError, ValueError):  # not Linux
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            # A group outside of the container has a path with "..", which is not mounted here.
            if ".." not in path and controller in (controllers or controller).split(","):
                group = (cgroup / controller if controllers else cgroup) / path.strip("/")
                found |= {it for it in (group, *group.parents) if it.is_relative_to(cgroup)}
    return found


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
