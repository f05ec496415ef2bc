"""What of the processor the ratios depend on."""

from collections.abc import Sequence
from pathlib import Path

AMX = "amx_int8"
FLAGS = (AMX, "avx512_vnni")  # by which int8 is computed


def flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Those of `FLAGS` that it has."""
    found = cpuinfo.read_text().split()
    return [flag for flag in FLAGS if flag in found]


def describe(flags: Sequence[str]) -> str:
    """All of `FLAGS` in words: whether it has each."""
    return ", ".join(flag if flag in flags else f"no {flag}" for flag in FLAGS)
