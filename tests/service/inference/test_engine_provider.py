"""Choice of the provider without a GPU: fake sessions first, then the real ONNX Runtime."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from service import hardware
from service.errors import CudaUnavailableError, EngineFailedError, ModelRefusedError
from service.hardware import nvidia_driver_visible
from service.inference import engine_provider
from service.inference.engine import CPU, CUDA
from service.inference.engine_provider import open_engine, preferred_precision


class FakeSession:
    """A session of ONNX Runtime that reports the provider that the test wants."""

    def __init__(self, provider: str, run_error: Exception | None = None) -> None:
        self.provider = provider
        self.run_error = run_error
        self.ran = 0
        self.sizes: list[int] = []
        self.threads: set[int] = set()
        self.falls_back = True

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="image", shape=["batch", 8, 8, 3], type="tensor(uint8)")]

    def get_outputs(self) -> list[Any]:
        return [
            SimpleNamespace(name="probabilities", shape=["batch", 3]),
            SimpleNamespace(name="energy", shape=["batch"]),
        ]

    def get_providers(self) -> list[str]:
        return [self.provider]

    def get_modelmeta(self) -> SimpleNamespace:
        return SimpleNamespace(custom_metadata_map={})

    def disable_fallback(self) -> None:
        self.falls_back = False

    def io_binding(self) -> "FakeBinding":
        return FakeBinding()

    def run_with_iobinding(self, binding: "FakeBinding", _options: ort.RunOptions) -> None:
        assert set(binding.values) == {"image", "probabilities", "energy"}
        self.sizes.append(len(binding.values["image"].array))
        self.threads.add(threading.get_ident())
        if self.run_error:
            raise self.run_error

    def run(
        self, _outputs: list[str], inputs: dict[str, NDArray[np.uint8]]
    ) -> list[NDArray[np.float32]]:
        self.ran += 1
        if self.run_error:
            raise self.run_error
        batch = len(inputs["image"])
        return [np.zeros((batch, 3), np.float32), np.zeros(batch, np.float32)]


class FakeBinding:
    """Remembers what is bound."""

    def __init__(self) -> None:
        self.values: dict[str, FakeValue] = {}

    def bind_ortvalue_input(self, name: str, value: "FakeValue") -> None:
        self.values[name] = value

    bind_ortvalue_output = bind_ortvalue_input


class FakeValue:
    """A buffer on a GPU."""

    def __init__(self, array: NDArray[Any], device: str, number: int) -> None:
        assert (device, number) == ("cuda", 0)
        self.array = array.copy()

    def update_inplace(self, array: NDArray[Any]) -> None:
        assert array.shape == self.array.shape
        self.array[:] = array

    def numpy(self) -> NDArray[Any]:
        return self.array


def read(provider: str) -> bytes:
    """The file of each provider, for sessions that look at nothing else."""
    return provider.encode()


class FakeRuntime:
    """Creates sessions; keeps the arguments of each."""

    def __init__(self, cuda: FakeSession | Exception | None = None) -> None:
        self.cuda = cuda or FakeSession(CUDA)
        self.cpu = FakeSession(CPU)
        self.asked: list[list[object]] = []
        self.models: list[bytes] = []
        self.options: Any = None

    def __call__(
        self,
        model: bytes,
        options: ort.SessionOptions,
        *,
        providers: list[object],
        enable_fallback: int,
    ) -> FakeSession:
        assert not enable_fallback
        self.asked.append(providers)
        self.models.append(model)
        self.options = options
        if providers == [CPU]:
            return self.cpu
        if isinstance(self.cuda, Exception):
            raise self.cuda
        return self.cuda


@pytest.fixture(autouse=True)
def _cuda_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(ort, "OrtValue", SimpleNamespace(ortvalue_from_numpy=FakeValue))


def see_driver(monkeypatch: pytest.MonkeyPatch, visible: bool) -> None:
    for module in (hardware, engine_provider):
        monkeypatch.setattr(module, "nvidia_driver_visible", lambda: visible)


def test_cpu_never_asks_for_cuda() -> None:
    runtime = FakeRuntime()
    opened = open_engine(read, provider="cpu", make_session=runtime)
    assert runtime.asked == [[CPU]]
    assert (opened.provider, opened.requested_provider) == (CPU, CPU)


@pytest.mark.parametrize(("visible", "expected"), [(True, CUDA), (False, CPU)])
def test_auto_follows_the_driver(
    monkeypatch: pytest.MonkeyPatch, visible: bool, expected: str
) -> None:
    see_driver(monkeypatch, visible)
    opened = open_engine(read, provider="auto", make_session=FakeRuntime())
    assert (opened.provider, opened.requested_provider) == (expected, expected)
    assert opened.degraded_reason is None


def test_cuda_is_asked_for_first_and_with_heuristic_search() -> None:
    runtime = FakeRuntime()
    open_engine(read, provider="cuda", make_session=runtime)
    assert runtime.asked == [[(CUDA, {"cudnn_conv_algo_search": "HEURISTIC"}), CPU]]


def test_cuda_graphs_are_captured_in_one_thread_where_they_are_asked_for() -> None:
    session = FakeSession(CUDA)
    runtime = FakeRuntime(session)
    open_engine(read, provider="cuda", cuda_graphs=True, make_session=runtime)
    heuristic = {"cudnn_conv_algo_search": "HEURISTIC"}
    assert runtime.asked == [[(CUDA, heuristic | {"enable_cuda_graph": "1"}), CPU]]
    assert len(session.threads) == 1
    assert threading.get_ident() not in session.threads


def test_batches_without_cuda_graphs_are_computed_where_they_were_prepared() -> None:
    session = FakeSession(CUDA)
    open_engine(read, provider="cuda", make_session=FakeRuntime(session))
    assert session.threads == {threading.get_ident()}


def test_batches_on_cuda_are_padded_to_sizes_that_were_warmed_up() -> None:
    session = FakeSession(CUDA)
    opened = open_engine(read, provider="cuda", make_session=FakeRuntime(session))
    assert set(session.sizes) == {1, 2, 4, 8, 16, 32}
    probabilities, energy = opened.run(np.zeros((11, 8, 8, 3), np.uint8))
    assert session.sizes[-1] == 16
    assert (probabilities.shape, energy.shape) == ((11, 3), (11,))
    assert session.ran == 0


def test_session_is_tested_by_one_inference_and_may_not_fall_back() -> None:
    runtime = FakeRuntime()
    open_engine(read, provider="cpu", make_session=runtime)
    assert runtime.cpu.ran == 1
    assert not runtime.cpu.falls_back
    assert runtime.options.intra_op_num_threads == 1
    assert runtime.options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize(
    "cuda",
    [
        FakeSession(CPU),
        FakeSession(CUDA, RuntimeError("CUDNN_STATUS_NOT_INITIALIZED")),
        RuntimeError("CUDA failure 35: CUDA driver version is insufficient\nat line 12"),
    ],
    ids=["silent switch", "failed warm-up", "failed start"],
)
@pytest.mark.parametrize("provider", ["auto", "cuda"])
def test_failing_cuda_falls_back_to_the_cpu_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
    cuda: FakeSession | Exception,
    provider: Literal["auto", "cuda"],
) -> None:
    see_driver(monkeypatch, True)
    opened = open_engine(read, provider=provider, make_session=FakeRuntime(cuda))
    assert (opened.provider, opened.requested_provider) == (CPU, CUDA)
    assert opened.degraded_reason is not None
    assert opened.degraded_reason.startswith("CUDA cannot be used: ")


def test_each_provider_gets_its_own_file() -> None:
    runtime = FakeRuntime(FakeSession(CPU))
    open_engine(read, provider="cuda", make_session=runtime)
    assert runtime.models == [CUDA.encode(), CPU.encode()]


def test_file_of_a_provider_that_is_not_asked_for_is_not_read() -> None:
    def read_cpu(provider: str) -> bytes:
        assert provider == CPU
        return b""

    open_engine(read_cpu, provider="cpu", make_session=FakeRuntime())


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "avx2 avx512f avx512_vnni", "int8"),
        ("x86_64", "avx2 avx_vnni", "int8"),
        ("AMD64", "avx2 avx512f", "float32"),
        ("x86_64", None, "float32"),
        ("aarch64", None, "int8"),
        ("arm64", None, "int8"),
    ],
)
def test_int8_is_preferred_where_its_products_are_summed_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, flags: str | None, expected: str
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    if flags:
        cpuinfo.write_text(f"flags\t\t: {flags}\n")
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert preferred_precision(CPU, cpuinfo) == expected
    assert preferred_precision(CUDA, cpuinfo) == "float16"


# The beginning is that of a machine whose GPU was hidden, where the rest was cut off; the rest has
# the form of ONNX Runtime's other failures.
CUDA_HIDDEN = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:154 std::conditional_t<THRW, "
    "void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const char*) "
    "[with ERRTYPE = cudaError; bool THRW = true; std::conditional_t<THRW, void, Status> = void] "
    "CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; hostname=secret ; "
    "file=/onnxruntime_src/cuda_execution_provider.cc ; line=285 ; expr=cudaSetDevice(id);"
)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (
            "CUDA failure 35: driver is insufficient\nat line 12",
            "CUDA failure 35: driver is insufficient",
        ),
        (CUDA_HIDDEN, "CUDA failure 100: no CUDA-capable device is detected"),
        ("Conv: CUDNN_FE failure 11: NOT_SUPPORTED ; GPU=0", "CUDNN_FE failure 11: NOT_SUPPORTED"),
        ("out of memory ; GPU=0 ; hostname=secret", "out of memory"),
    ],
)
def test_required_cuda_keeps_the_reason_of_onnx_runtime(raised: str, expected: str) -> None:
    runtime = FakeRuntime(RuntimeError(raised))
    with pytest.raises(CudaUnavailableError) as caught:
        open_engine(read, require_cuda=True, make_session=runtime)
    assert str(caught.value) == f"CUDA cannot be used: {expected}"
    assert [CPU] not in runtime.asked


def test_lost_cuda_is_reported_without_the_name_of_the_host() -> None:
    session = FakeSession(CUDA)
    opened = open_engine(read, provider="cuda", make_session=FakeRuntime(session))
    session.run_error = Fail(
        "[ONNXRuntimeError] : 1 : FAIL : CUDA failure 700: an illegal memory access was encountered"
        " ; GPU=0 ; hostname=secret ; file=/onnxruntime_src/cuda_call.cc ; line=265 ; expr=f();"
    )
    with pytest.raises(EngineFailedError) as caught:
        opened.run(np.zeros((1, 8, 8, 3), np.uint8))
    assert str(caught.value) == (
        "CUDAExecutionProvider failed: CUDA failure 700: an illegal memory access was encountered"
    )
    assert opened.provider == CUDA


def test_cpu_build_of_onnx_runtime_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    with pytest.raises(CudaUnavailableError, match="install onnxruntime-gpu"):
        open_engine(read, require_cuda=True, make_session=FakeRuntime())


def test_cuda_libraries_are_found_in_another_folder_of_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / "nvidia" / name / "lib" for name in ("cu13", "cudnn")]
    for folder in folders:
        folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    searched: list[str | None] = []

    def preload(directory: str | None = None) -> None:
        searched.append(directory)
        if directory:
            print("Failed to load libcudart.so.13: it is in the other one")

    monkeypatch.setattr(ort, "preload_dlls", preload)
    with pytest.raises(CudaUnavailableError) as caught:
        open_engine(read, require_cuda=True, make_session=FakeRuntime(FakeSession(CPU)))
    assert [folder for folder in searched if folder and folder.startswith(str(tmp_path))] == [
        str(folder) for folder in folders
    ]
    assert searched[-1] is None  # then the system's
    assert "libcudart" not in str(caught.value)


def test_required_cuda_wins_over_cpu() -> None:
    opened = open_engine(read, provider="cpu", require_cuda=True, make_session=FakeRuntime())
    assert opened.provider == CUDA


def test_real_model_runs_on_the_cpu(tiny_models: Path) -> None:
    model = (tiny_models / "tiny/1/model.onnx").read_bytes()
    opened = open_engine(lambda _: model, provider="cpu")
    assert (opened.height, opened.width, opened.metadata["name"]) == (8, 8, "tiny")
    probabilities, energy = opened.run(np.full((5, 8, 8, 3), 255, np.uint8))
    assert probabilities.shape == (5, 3)
    assert probabilities.dtype == energy.dtype == np.float32
    np.testing.assert_allclose(probabilities, 1 / 3, atol=1e-6)
    np.testing.assert_allclose(energy, 4 + np.log(3), atol=1e-5)


def test_model_with_other_inputs_is_refused_not_reported_as_a_cuda_fault() -> None:
    session = FakeSession(CUDA)
    session.get_inputs = lambda: []  # type: ignore[method-assign]
    with pytest.raises(ModelRefusedError, match="must take `image`"):
        open_engine(read, provider="cuda", make_session=FakeRuntime(session))


@pytest.mark.parametrize("model", [b"", b"no model", b"\x08\x08"])
def test_broken_model_is_refused(model: bytes) -> None:
    with pytest.raises(ModelRefusedError):
        open_engine(lambda _: model, provider="cpu")


needs_no_gpu = pytest.mark.skipif(
    nvidia_driver_visible(), reason="this machine has an NVIDIA driver"
)


@needs_no_gpu
@pytest.mark.usefixtures("_real_build")
def test_real_gpu_build_without_a_gpu_falls_back_with_a_reason(
    tiny_models: Path,
) -> None:
    model = (tiny_models / "tiny/1/model.onnx").read_bytes()
    opened = open_engine(lambda _: model, provider="cuda")
    assert (opened.provider, opened.requested_provider) == (CPU, CUDA)
    assert "no NVIDIA driver is visible" in str(opened.degraded_reason)


@needs_no_gpu
@pytest.mark.usefixtures("_real_build")
def test_real_gpu_build_without_a_gpu_refuses_when_cuda_is_required(tiny_models: Path) -> None:
    model = (tiny_models / "tiny/1/model.onnx").read_bytes()
    with pytest.raises(CudaUnavailableError, match="no NVIDIA driver is visible"):
        open_engine(lambda _: model, require_cuda=True)


@pytest.fixture
def _real_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    if CUDA not in ort.get_available_providers():
        pytest.skip("this is the CPU build of ONNX Runtime")
