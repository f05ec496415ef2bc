"""Settings of the service: environment variables, which command-line flags override."""

import math
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

# Above this Pillow warns of its own accord, and from twice as many on it refuses.
PILLOW_PIXEL_LIMIT = 89_478_485

_KEY = re.compile(r"[!-+\--~]+")
_Keys = Annotated[tuple[SecretStr, ...], NoDecode]


class Settings(BaseSettings):
    """Everything that can be configured; each field is `CIFAR10_<NAME>` in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="CIFAR10_",
        env_ignore_empty=True,
        cli_prog_name="python -m service",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    models: Path = Field(Path("models"), description="Folder of the model repository.")
    model: str = Field("cifar10", description="Name of the model to serve.")
    model_version: PositiveInt | Literal["latest"] = Field(
        "latest", description="Version of the model to serve."
    )
    variant: str = Field(
        "auto",
        pattern=r"^(auto|[\w-][\w.-]*\.onnx)$",
        description="File of the model to serve, as model.onnx; auto takes the fastest that keeps "
        "the accuracy.",
    )
    provider: Literal["auto", "cuda", "cpu"] = Field(
        "auto", description="Where to compute; auto takes CUDA where an NVIDIA driver is visible."
    )
    require_cuda: bool = Field(False, description="Refuse to start unless CUDA is really in use.")
    threads: PositiveInt | Literal["auto"] = Field(
        "auto", description="Threads that decode and compute; auto takes one for each usable CPU."
    )
    max_batch: PositiveInt = Field(32, description="Most pictures in one inference.")
    max_queue: PositiveInt = Field(256, description="Most pictures that may wait.")
    deadline_ms: PositiveInt = Field(
        10_000, description="Longest time a picture may take, in milliseconds."
    )
    max_body_bytes: PositiveInt = Field(20_000_000, description="Largest request body, in bytes.")
    max_pixels: int = Field(
        50_000_000, ge=1, le=PILLOW_PIXEL_LIMIT, description="Most pixels in one picture."
    )
    max_files: PositiveInt = Field(64, description="Most pictures in one batch request.")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Web origins that may call the API from a browser, separated by commas."
    )
    api_keys: _Keys = Field(
        (), description="Keys that open everything but administration, separated by commas."
    )
    api_keys_file: Path | None = Field(
        None, description="File of more such keys, one a line; read again when it changes."
    )
    admin_keys: _Keys = Field(
        (), description="Keys that open everything, separated by commas; none: no administration."
    )
    admin_keys_file: Path | None = Field(
        None, description="File of more such keys, one a line; read again when it changes."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="Format of the log; auto is text on a terminal, else json."
    )

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return _split(value) if isinstance(value, str) else value

    @field_validator("api_keys", "admin_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        return tuple(_check_key(key) for key in _split(value)) if isinstance(value, str) else value

    @field_validator("api_keys_file", "admin_keys_file")
    @classmethod
    def _check_file_of_keys(cls, path: Path | None) -> Path | None:
        if path is not None:
            read_keys(path)
        return path

    @property
    def version(self) -> int | None:
        """Version to serve; None means the newest."""
        return None if self.model_version == "latest" else self.model_version

    @property
    def thread_count(self) -> int:
        """Number of threads that decode and compute."""
        return available_cpus() if self.threads == "auto" else self.threads


def read_keys(path: Path) -> list[str]:
    """Reads a file of API keys: one a line; blank lines and comments (#) are skipped.

    Raises:
        ValueError: the file cannot be read, or a line is no key.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    stripped = (line.strip() for line in lines)
    return [_check_key(line) for line in stripped if line and not line.startswith("#")]


def _check_key(key: str) -> str:
    """Refuses what cannot be sent in a header, without showing it."""
    if not _KEY.fullmatch(key):
        raise ValueError("a key has printable ASCII characters only, and no spaces or commas")
    return key


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """CPUs that this process may use: its affinity, within the container's quota."""
    # Only Linux knows an affinity.
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    cpus = len(affinity) or os.cpu_count() or 1
    return math.ceil(min(cpus, _cgroup_quota(cgroup)))


def _cgroup_quota(cgroup: Path) -> float:
    """CPU quota of the control group in CPUs; infinite without one."""
    for read in (_quota_v2, _quota_v1):
        try:
            quota, period = read(cgroup)
        except (OSError, ValueError):
            continue
        if quota > 0 and period > 0:
            return quota / period
    return math.inf


def _quota_v2(cgroup: Path) -> tuple[float, float]:
    quota, period = (cgroup / "cpu.max").read_text().split()
    return (math.inf if quota == "max" else float(quota)), float(period)


def _quota_v1(cgroup: Path) -> tuple[float, float]:
    cpu = cgroup / "cpu"
    return (
        float((cpu / "cpu.cfs_quota_us").read_text()),
        float((cpu / "cpu.cfs_period_us").read_text()),
    )
