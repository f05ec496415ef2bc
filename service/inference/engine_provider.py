"""Chooses the execution provider, CUDA or the CPU, and opens a session of ONNX Runtime on it."""

import contextlib
import functools
import importlib.util
import io
import logging
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import onnxruntime as ort

from service.errors import CudaUnavailableError, ModelRefusedError
from service.hardware import nvidia_driver_visible, wants_cuda
from service.inference.engine import CPU, CUDA, MAX_BATCH, OnnxEngine, first_line

# The default, EXHAUSTIVE, takes longer to choose the algorithms of each new batch size.
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}
_CUDA_GRAPHS = {"enable_cuda_graph": "1"}
_SEVERITY_FATAL = 4

logger = logging.getLogger(__name__)

SessionFactory = Callable[..., ort.InferenceSession]


def open_engine(
    read: Callable[[str], bytes],
    *,
    provider: Literal["auto", "cuda", "cpu"] = "auto",
    require_cuda: bool = False,
    cuda_graphs: bool = False,
    max_batch: int = MAX_BATCH,
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
    if wants_cuda(provider, required=require_cuda):
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
        text = f"ONNX Runtime cannot run the model: {first_line(error)}"
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
        session = open_session(model, providers)
        engine = OnnxEngine(session, CUDA, max_batch=max_batch, graphs=graphs)
    except ModelRefusedError:
        raise
    except Exception as error:  # cuDNN is loaded late, so the first inference may fail too
        raise CudaUnavailableError(f"CUDA cannot be used: {first_line(error)}") from error
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
