"""ONNX Runtime: choose the execution provider, open and test a session, run it."""

import contextlib
import functools
import importlib.util
import io
import logging
import os
import platform
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from service.errors import CudaUnavailableError, EngineFailedError, ModelRefusedError
from service.hardware import nvidia_driver_visible

# ONNX Runtime sends usage events unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

from service.inference.engine_cuda import Buckets, Floats, Images

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
# The default, EXHAUSTIVE, takes longer to choose the algorithms of each new batch size.
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}
_CUDA_GRAPHS = {"enable_cuda_graph": "1"}
_SEVERITY_FATAL = 4
_MAX_BATCH = 32

logger = logging.getLogger(__name__)

SessionFactory = Callable[..., ort.InferenceSession]


class Engine(Protocol):
    """What a classifier needs to compute batches.

    Attributes:
        height: height of the model's input in pixels.
        width: width of the model's input in pixels.
        metadata: metadata properties of the model file.
        provider: execution provider in use.
        requested_provider: execution provider that was asked for.
        degraded_reason: why the two differ, None if they are the same.
    """

    height: int
    width: int
    metadata: dict[str, str]
    provider: str
    requested_provider: str
    degraded_reason: str | None

    def run(self, images: Images) -> tuple[Floats, Floats]:
        """Computes a batch, uint8 (batch, height, width, 3), RGB; several threads may call it.

        Returns:
            Probabilities (batch, classes) and energy (batch,), float32.

        Raises:
            EngineFailedError: it cannot be computed; a later batch may succeed.
        """


class OnnxEngine:
    """A warmed-up session of ONNX Runtime; see `Engine`."""

    def __init__(
        self,
        session: ort.InferenceSession,
        requested: str,
        degraded_reason: str | None = None,
        *,
        max_batch: int = _MAX_BATCH,
    ) -> None:
        """Reads the facts of a session and runs one inference as a self-test."""
        self.requested_provider = requested
        self.degraded_reason = degraded_reason
        self.provider: str = session.get_providers()[0]
        self.metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        self.height, self.width = _input_size(session)
        self._compute: Callable[[Images], Sequence[Floats]]
        if self.provider == CUDA:
            self._compute = Buckets(session, self.height, self.width, "cuda", max_batch).run
        else:
            outputs = ["probabilities", "energy"]
            self._compute = lambda images: session.run(outputs, {"image": images})
        self.run(np.zeros((1, self.height, self.width, 3), np.uint8))

    def run(self, images: Images) -> tuple[Floats, Floats]:
        """Computes one batch; see `Engine.run`."""
        try:
            probabilities, energy = self._compute(images)
        except Exception as error:
            raise EngineFailedError(f"{self.provider} failed: {_first_line(error)}") from error
        return probabilities, energy


def open_engine(
    read: Callable[[str], bytes],
    *,
    provider: Literal["auto", "cuda", "cpu"] = "auto",
    require_cuda: bool = False,
    cuda_graphs: bool = False,
    max_batch: int = _MAX_BATCH,
    make_session: SessionFactory = ort.InferenceSession,
) -> OnnxEngine:
    """Opens a model on the requested provider, or on the CPU with a warning in the log.

    `read` returns the content of the ONNX file for an execution provider, and `make_session`
    creates the session. On CUDA, batches larger than `max_batch` are computed in parts. The other
    options are those of `Classifier.open`.

    Raises:
        CudaUnavailableError: CUDA is required and cannot be used.
        ModelRefusedError: ONNX Runtime cannot run the model.
    """
    ort.set_default_logger_severity(_SEVERITY_FATAL)  # failures are raised, or found below
    open_session = functools.partial(_open_session, make_session=make_session)
    requested, degraded_reason = CPU, None
    wants_cuda = require_cuda or provider == "cuda"
    if wants_cuda or (provider == "auto" and nvidia_driver_visible()):
        try:
            model = read(CUDA)
            return _open_cuda(model, open_session, graphs=cuda_graphs, max_batch=max_batch)
        except CudaUnavailableError as error:
            if require_cuda:
                raise
            logger.warning("Computing on the CPU. %s", error)
            requested, degraded_reason = CUDA, str(error)
    model = read(CPU)
    try:
        return OnnxEngine(open_session(model, [CPU]), requested, degraded_reason)
    except ModelRefusedError:
        raise
    except Exception as error:
        text = f"ONNX Runtime cannot run the model: {_first_line(error)}"
        raise ModelRefusedError(text) from error


def preferred_precision(provider: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The precision that is fastest on an execution provider: float32, float16 or int8."""
    if provider == CUDA:
        return "float16"
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return "int8"
    # Without these instructions int8 products are summed in 16 bits, which overflow.
    try:
        exact = "vnni" in cpuinfo.read_text()  # avx512_vnni or avx_vnni
    except OSError:  # not Linux
        exact = False
    return "int8" if exact else "float32"


def _open_cuda(
    model: bytes,
    open_session: Callable[..., ort.InferenceSession],
    *,
    graphs: bool,
    max_batch: int,
) -> OnnxEngine:
    if CUDA not in ort.get_available_providers():
        raise CudaUnavailableError(
            "CUDA cannot be used: this build of ONNX Runtime has none; install onnxruntime-gpu."
        )
    missing = _preload_cuda_libraries()
    try:
        providers = [(CUDA, _CUDA_OPTIONS | (_CUDA_GRAPHS if graphs else {})), CPU]
        engine = OnnxEngine(open_session(model, providers), CUDA, max_batch=max_batch)
    except ModelRefusedError:
        raise
    except Exception as error:  # cuDNN is loaded late, so the first inference may fail too
        raise CudaUnavailableError(f"CUDA cannot be used: {_first_line(error)}") from error
    if engine.provider == CUDA:
        return engine
    # A session that asked for CUDA and has none runs on the CPU without an error.
    raise CudaUnavailableError(f"CUDA cannot be used: {_what_cuda_lacks(missing)}.")


def _open_session(
    model: bytes, providers: list[Any], make_session: SessionFactory
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = _SEVERITY_FATAL
    # Several threads run inferences in parallel. The default counts the host's CPUs, not our quota.
    options.intra_op_num_threads = 1
    # Threads that spin while they wait take CPU time from the event loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without fallback a broken provider raises, here and in run(), and does not change silently.
    session = make_session(model, options, providers=providers, enable_fallback=0)
    session.disable_fallback()
    return session


def _input_size(session: ort.InferenceSession) -> tuple[int, int]:
    inputs = [(node.name, node.type, node.shape) for node in session.get_inputs()]
    outputs = {node.name for node in session.get_outputs()}
    match inputs, outputs >= {"probabilities", "energy"}:
        case [("image", "tensor(uint8)", [_, int(height), int(width), 3])], True:
            return height, width
    raise ModelRefusedError(
        "The model must take `image`, uint8 (batch, height, width, 3), and return "
        "`probabilities` and `energy`; export it again."
    )


def _preload_cuda_libraries() -> list[str]:
    """Loads the CUDA libraries of the installed wheels; returns the names of those that failed."""
    # It prints its failures and never raises. By itself it looks beside its own package, where the
    # wheels need not be; what is missing in one of their folders may be in the next.
    with contextlib.redirect_stdout(io.StringIO()):
        for folder in _cuda_folders():
            ort.preload_dlls(directory=str(folder))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        ort.preload_dlls()
    return sorted(set(re.findall(r"Failed to load (\S+):", printed.getvalue())))


def _cuda_folders() -> list[Path]:
    """The folders of the libraries of CUDA's wheels, wherever on Python's path they are."""
    found = importlib.util.find_spec("nvidia")
    roots = found.submodule_search_locations if found else None
    return [folder for root in roots or () for folder in sorted(Path(root).glob("cu*/lib"))]


def _what_cuda_lacks(missing_libraries: list[str]) -> str:
    lacks = []
    if not nvidia_driver_visible():
        lacks.append("no NVIDIA driver is visible (libcuda cannot be loaded)")
    if missing_libraries:
        lacks.append(
            f"CUDA libraries are missing ({', '.join(missing_libraries)}; "
            "onnxruntime-gpu[cuda,cudnn] brings them)"
        )
    return " and ".join(lacks) or (
        "ONNX Runtime could not load its CUDA provider, which needs CUDA 13 and cuDNN 9 "
        "(onnxruntime-gpu[cuda,cudnn] brings them)"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # CUDA's errors go on with the name of the host and of a source file.
    return lines[0].partition(" ; GPU=")[0][:300]
