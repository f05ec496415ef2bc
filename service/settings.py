"""Settings of the service: environment variables, which command-line flags override."""

import importlib.util
import math
import re
import sys
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from service.api_keys import FileOfKeys, Keys, split
from service.hardware import available_cpus, available_memory, wants_cuda

# Memory of a worker under load, without large pictures. Of these each of several threads decodes
# one that takes up to `LARGE_PICTURE_BYTES`, and all workers together one that takes more, up to
# `PIXEL_BYTES` for each of `max_pixels`.
WORKER_BYTES = 200_000_000
# A HEIC of 12 million pixels, as phones write it, takes 140 MB.
LARGE_PICTURE_BYTES = 150_000_000
PIXEL_BYTES = 12
# Memory of the host that CUDA takes in each worker: 0.65 GB were measured on an NVIDIA H200.
CUDA_BYTES = 1_000_000_000
# Several processes are needed to keep a GPU busy. On an H200 with 16 CPUs, one answered 18,000
# pictures a second in batches of 32, 4 answered 68,000 and 8 answered 72,000.
CUDA_WORKERS = 4
CPUS_PER_CUDA_WORKER = 4
# Memory of a model in each worker for each byte of its file: once it is loaded, and at most while
# it is being loaded (measured with 3 to 100 MB: 2.0 to 2.4 times, and 2.4 to 3.8 times).
SESSION_FACTOR = 2
LOADING_FACTOR = 3
# A JPEG is decoded at a reduced size: it may have so many times the pixels, if memory allows.
JPEG_FACTOR = 4

_GRPC = ("grpc", "grpc_health", "grpc_reflection")

_SERVED = re.compile(r"\*|[^@/]+(@([1-9][0-9]*|all))?")


def _check_served(entries: tuple[str, ...]) -> tuple[str, ...]:
    for entry in entries:
        if not _SERVED.fullmatch(entry):
            raise ValueError(f"{entry!r} is not *, a model, model@version or model@all")
    return entries


def _check_grpc(port: int | None) -> int | None:
    if port is not None and any(importlib.util.find_spec(name) is None for name in _GRPC):
        raise ValueError("gRPC is not installed; it is an extra: pip install '.[grpc]'")
    return port


_Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split)]
_GrpcPort = Annotated[int | None, Field(ge=0, le=65535), AfterValidator(_check_grpc)]
_Served = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(split), AfterValidator(_check_served)
]


def default_models() -> Path:
    """Folder of the model repository if none is named."""
    here, packaged = Path("models"), Path(__file__).parent / "default_models"
    return packaged if packaged.is_dir() and not here.is_dir() else here


class Settings(BaseSettings):
    """Settings of the service; each flag is also a variable: --max-batch is CIFAR10_MAX_BATCH."""

    model_config = SettingsConfigDict(
        env_prefix="CIFAR10_",
        cli_prog_name="python -m service",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        hide_input_in_errors=True,  # it may be a key
        use_attribute_docstrings=True,
    )

    host: str = "127.0.0.1"
    """Address to listen on; :: takes IPv6 and IPv4 connections."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 picks a free one."""
    grpc_port: _GrpcPort = None
    """Port to listen on for gRPC, 8001 by convention; none by default. Needs the extra `grpc`."""
    uds: Path | None = None
    """Unix socket to listen on instead of an address, for a reverse proxy on the same machine.
    Its permissions follow the umask: with 022, only the same user can connect."""
    models: Path = Field(default_factory=default_models)
    """Folder of the model repository, or of one version; by default `models` in the working
    directory, or where there is none the model that comes with the package."""
    model: str = "cifar10"
    """Name of the default model; in a repository with a single model, that one."""
    model_version: PositiveInt | Literal["latest"] = "latest"
    """Version of the default model."""
    served: _Served = ("*",)
    """Which models are served beside the default one, separated by commas: pets for the highest
    version of a model, pets@1 for one version, pets@all for all; by default *, which is every
    model. Set but empty, it is the default model alone."""
    variant: str = Field("auto", pattern=r"^(auto|[\w-][\w.-]*\.onnx)$")
    """File of each model to serve, such as model.onnx; auto takes the fastest one that keeps the
    accuracy."""
    provider: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to compute; auto takes CUDA if there is an NVIDIA driver."""
    require_cuda: bool = False
    """Refuse to start unless CUDA is in use."""
    cuda_graphs: bool = False
    """Capture a CUDA graph for each batch size; not measured yet."""
    second_view: bool = True
    """Compute further views of a picture where the model's file says so: it is unsure, or the
    picture has many pixels; not while many pictures wait."""
    workers: PositiveInt | Literal["auto"] = "auto"
    """Number of worker processes; auto takes one for each usable CPU if there is enough memory,
    and one for a GPU."""
    threads: PositiveInt | Literal["auto"] = "auto"
    """Threads that decode and compute in each worker; auto divides the CPUs by the workers."""
    max_batch: PositiveInt = 32
    """Most pictures in one inference."""
    max_queue: PositiveInt = 256
    """Most pictures of a model that wait in each worker."""
    deadline_ms: PositiveInt = 10_000
    """Longest time a picture may take, in milliseconds."""
    max_head_bytes: PositiveInt = 65_536
    """Largest request line with its headers, in bytes."""
    max_body_bytes: PositiveInt = 20_000_000
    """Largest request body, in bytes."""
    max_pending_bytes: PositiveInt = 256_000_000
    """Most bytes of requests in memory, of all protocols and in all workers; gRPC takes as much
    again for messages that arrive slowly."""
    max_pixels: PositiveInt = 50_000_000
    """Most memory that decoding one picture takes, in pixels of 12 bytes; a JPEG, which is decoded
    at a reduced size, may have four times as many pixels."""
    max_files: PositiveInt = 64
    """Most pictures in one batch request; no more than max_queue."""
    max_form_fields: PositiveInt = 16
    """Most form fields that are not files; they are ignored."""
    head_timeout_ms: PositiveInt = 10_000
    """Longest time to receive the headers of a request, in milliseconds."""
    body_timeout_ms: PositiveInt = 60_000
    """Longest time to receive the body of a request, in milliseconds."""
    cors_origins: _Texts = ()
    """Web origins that may call the API from a browser, separated by commas."""
    api_keys: Keys = ()
    """API keys for all but administration, separated by commas."""
    api_keys_file: FileOfKeys | None = None
    """File of more such keys, one a line; read again when it changes."""
    admin_keys: Keys = ()
    """API keys for everything, administration included, separated by commas."""
    admin_keys_file: FileOfKeys | None = None
    """File of more such keys, one a line; read again when it changes."""
    drain_s: float = Field(2, ge=0)
    """Seconds after SIGTERM during which the service reports that it is not ready and still
    accepts connections; Ctrl-C skips them."""
    stuck_s: float = Field(30, gt=0)
    """Seconds without progress after which a worker is replaced."""
    metrics_open: bool = False
    """Answer /metrics without a key."""
    rate_limit: str | None = Field(None, pattern=r"^[1-9]\d*/(second|minute|hour|day)$")
    """Most requests of each API key, such as 100/minute."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is logged."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """Format of the log; auto is text on a terminal and json elsewhere."""

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: dict[str, object]) -> dict[str, object]:
        """Takes the default for what is empty, but for the list of models and for keys.

        The list may be empty; keys that are empty are refused.
        """
        kept = ("served", "api_keys", "api_keys_file", "admin_keys", "admin_keys_file")
        return {name: it for name, it in values.items() if it != "" or name in kept}

    @model_validator(mode="after")
    def _check_rate_limit(self) -> Self:
        if self.rate_limit and not self.has_keys:
            raise ValueError("rate_limit counts by key: set api_keys or api_keys_file, too")
        return self

    @model_validator(mode="after")
    def _limit_files(self) -> Self:
        """A batch of more pictures than may wait would be told to try again, for ever."""
        self.max_files = min(self.max_files, self.max_queue)
        return self

    @property
    def has_keys(self) -> bool:
        """Whether requests need a key; an empty file of keys admits nobody."""
        return bool(self.api_keys) or self.api_keys_file is not None

    @property
    def version(self) -> int | None:
        """Version to serve; None is the newest."""
        return None if self.model_version == "latest" else self.model_version

    @property
    def worker_count(self) -> int:
        """Number of worker processes, for models that take no memory."""
        return self.workers_for(0)

    def workers_for(self, model_bytes: int) -> int:
        """Number of worker processes, for models whose files have so many bytes in all.

        Each has room for two snapshots of them, as while they are loaded again.
        """
        if self.workers != "auto":
            return self.workers
        if sys.platform != "linux":  # no other system spreads connections over several
            return 1
        most = available_cpus()
        if self._wants_cuda:
            most = min(CUDA_WORKERS, most // CPUS_PER_CUDA_WORKER)
        room = self._room - 2 * model_bytes  # the files themselves, which all workers share
        each = self._worker_bytes + LARGE_PICTURE_BYTES
        each += (SESSION_FACTOR + LOADING_FACTOR) * model_bytes
        return max(1, min(most, int(room // each)))

    @property
    def _wants_cuda(self) -> bool:
        return wants_cuda(self.provider, required=self.require_cuda)

    @property
    def _worker_bytes(self) -> int:
        """Memory of a worker without models and large pictures."""
        return WORKER_BYTES + (CUDA_BYTES if self._wants_cuda else 0)

    @property
    def _room(self) -> float:
        """Bytes of memory for all workers, beside a huge picture and requests."""
        room = available_memory() - PIXEL_BYTES * self.max_pixels - self.max_pending_bytes
        # As many bytes again, of messages that are not whole.
        return room if self.grpc_port is None else room - self.max_pending_bytes

    @property
    def pending_bytes_per_worker(self) -> int:
        """A worker's part of `max_pending_bytes`; at least one body of the largest size fits."""
        return max(self.max_pending_bytes // self.worker_count, self.max_body_bytes)

    @property
    def thread_count(self) -> int:
        """Number of threads that decode and compute in each worker."""
        if self.threads != "auto":
            return self.threads
        return math.ceil(available_cpus() / self.worker_count)

    @property
    def large_picture_threads(self) -> int:
        """Number of threads in each worker that decode large pictures: as memory allows."""
        most = (self._room / self.worker_count - self._worker_bytes) // LARGE_PICTURE_BYTES
        return max(1, min(self.thread_count, int(most)))


def explain(error: ValidationError | SettingsError) -> str:
    """Describes in one line what is wrong with the settings."""
    if isinstance(error, SettingsError):
        return str(error)
    errors: dict[str, list[str]] = {}
    for found in error.errors():
        # An error of several settings together names none.
        name = "".join(f"{place}: " for place in found["loc"][:1])
        errors.setdefault(name, []).append(found["msg"])
    # A setting of two types has an error for each type.
    either = (name + ", or ".join(messages) for name, messages in errors.items())
    return "; ".join(either).replace("or Input should be ", "or ")
