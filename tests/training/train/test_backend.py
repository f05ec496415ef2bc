"""Training under JAX and PyTorch, in processes of their own: Keras has one backend a process."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.training.conftest import FOLDERS
from tests.training.train import small
from training.errors import TrainingError
from training.export import variants
from training.pipeline import steps
from training.train import backend
from training.train.checkpoint import Run

pytestmark = pytest.mark.long


def installed(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(name) is None, reason=f"{backend.NAMES[name]} is not installed"
    )


NOT_NEEDED = (
    *("tensorflow", "tf2onnx", "onnx", "onnxruntime", "matplotlib", "jinja2", "skimage"),
    *("platformdirs", "fastapi", "service"),
)
JAX, TORCH = (pytest.param(name, marks=installed(name)) for name in ("jax", "torch"))


def train(name: str, folder: Path, *arguments: str) -> str:
    """Train a small network under a backend, without TensorFlow; returns what it printed."""
    done = subprocess.run(
        [*small.COMMAND, folder, *arguments],
        env=small.variables(name),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=[JAX, TORCH])
def backend_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def trained(backend_name: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of another backend, which no test may change."""
    run = Run(tmp_path_factory.mktemp(backend_name) / "run")
    assert train(backend_name, run.folder).startswith(backend.NAMES[backend_name])
    return run


def test_network_learns_without_tensorflow(trained: Run) -> None:
    history = trained.read_history()
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert np.isfinite(history["val_loss"]).all()
    libraries = trained.read_settings().origin.libraries
    assert libraries.keys() & {"jax", "torch"}


def test_tensorflow_exports_what_another_backend_trained(trained: Run, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(trained.folder, tmp_path / "run")))
    data = small.sample(small.PRESET)
    with pytest.MonkeyPatch.context() as patch:
        # One of its few validation pictures is more than what a variant may lose.
        patch.setattr(variants, "ACCURACY_LOSS_LIMIT", 1.0)
        steps.export_run(run, data, tmp_path / "models", "small")
    assert steps.verify_run(run, data) < 1e-5


@small.in_long_form
@pytest.mark.parametrize("name", [JAX, TORCH])
def test_student_learns_from_pictures_on_the_device(name: str, tmp_path: Path) -> None:
    train(name, tmp_path / "teacher-seed0", "--preset", "teacher")
    train(name, tmp_path / "student-seed0", "--preset", "student")
    for folder in ("teacher-seed0", "student-seed0"):
        history = Run(tmp_path / folder).read_history()
        assert history["loss"].iloc[-1] < history["loss"].iloc[0]


@small.in_long_form
def test_killed_run_ends_with_the_same_weights(
    trained: Run, backend_name: str, tmp_path: Path
) -> None:
    cut = Run(tmp_path / "cut")
    with subprocess.Popen(
        [*small.COMMAND, cut.folder, "--often"],
        env=small.variables(backend_name), stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        small.wait_for_an_epoch(cut, process)
        process.kill()
    train(backend_name, cut.folder)
    whole, again = (
        keras.saving.load_model(run.checkpoint, compile=False) for run in (trained, cut)
    )
    for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", [JAX, TORCH])
def test_fit_command_needs_no_package_that_exports_measures_or_publishes(
    name: str, tmp_path: Path
) -> None:
    code = (
        f"from tests.training.train.without import without; without(*{NOT_NEEDED}); "
        "import runpy; runpy.run_module('training', run_name='__main__')"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-c", code, "fit", str(tmp_path / "run"), "--preset", "baseline"),
            *("--epochs", "1", "--pictures", "64", "--data", str(FOLDERS)),
        ],
        env=small.variables(name), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    settings = Run(tmp_path / "run").read_settings()
    assert (settings.data.train, settings.preset.epochs) == (64, 1)


@small.in_long_form
@pytest.mark.parametrize("name", [JAX])
def test_run_command_trains_and_publishes_under_another_backend(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "training", "run", "--preset", "baseline", "--epochs", "2"),
            *("--data", str(FOLDERS), "--models", str(tmp_path), "--runs", str(tmp_path / "runs")),
        ],
        env=small.variables(name), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    card = json.loads((tmp_path / "cifar10" / "1" / "card.json").read_text())
    assert card["training"]["libraries"].keys() >= {"jax", "tensorflow"}
    assert card["parity"] < 1e-4


def test_backend_that_does_not_exist_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ImportError("No module named 'jax'")

    monkeypatch.setattr(backend, "accelerators", fail)
    with pytest.raises(TrainingError, match="KERAS_BACKEND: No module named 'jax'"):
        backend.start()


def test_gpus_decide_the_precision_and_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "accelerators", lambda: ["a fast GPU"])
    assert backend.dtype_policy() == "mixed_bfloat16"
    assert backend.hardware().endswith("; a fast GPU")
