"""Faults that are planted into the export: the comparison with the trained network finds each."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from training.data.dataset import DataSet
from training.errors import TrainingError
from training.export import outputs, parity, to_onnx, variants
from training.export.outputs import Fitted
from training.measure import predict
from training.presets import DEFAULT, WhitenedNetwork
from training.publish import artifact
from training.train import origin, untrained
from training.train.checkpoint import HISTORY_COLUMNS, Run

DIFFERS = "differs from the trained network"
Array = npt.NDArray[np.float32]


NETWORKS = {
    "chain": WhitenedNetwork(widths=(4, 8)),
    "residual": WhitenedNetwork(widths=(4, 8), group=3, residual=True, fused=True),
}


@pytest.fixture(scope="module", params=NETWORKS)
def whitened(
    request: pytest.FixtureRequest, sample: DataSet, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """A checkpoint of a small whitened network in bfloat16 whose parts all have an effect."""
    preset = replace(DEFAULT, network=NETWORKS[request.param])
    run = Run(tmp_path_factory.mktemp("whitened"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.environment.dtype_policy", lambda: "mixed_bfloat16")
        model = untrained.new_model(preset, sample, 0)
        run.write_settings(origin.settings(preset, sample, 0, 1))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [rng.normal(0, 0.3, beta.shape), rng.normal(0, 0.3, mean.shape),
                 rng.uniform(0.5, 2, variance.shape)]
            )  # fmt: skip
    run.save(model, run.read_history().reindex(columns=HISTORY_COLUMNS))
    return run


def export(run: Run, sample: DataSet, folder: Path) -> tuple[Path, Fitted]:
    model = folder / "model.onnx"
    return model, to_onnx.export(run, sample.validation, model, name="tiny", version=1)


@pytest.fixture(scope="module")
def exported(
    whitened: Run, sample: DataSet, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Fitted]:
    return export(whitened, sample, tmp_path_factory.mktemp("exported"))


def test_right_export_agrees(whitened: Run, exported: tuple[Path, Fitted], sample: DataSet) -> None:
    model, fitted = exported
    images = sample.validation.images
    assert parity.verify(whitened, model, images, fitted.calibration) <= 1e-5
    policies = {layer.dtype_policy.name for layer in parity.trained(whitened).layers}
    assert policies == {"float32"}


def test_faster_files_agree(exported: tuple[Path, Fitted], sample: DataSet, tmp_path: Path) -> None:
    model = Path(shutil.copy(exported[0], tmp_path))
    int8, fp16 = tmp_path / "model.int8.onnx", tmp_path / "model.fp16.onnx"
    variants.write_int8(model, int8, sample)
    outputs.fit(int8, sample.validation, {})
    variants.write_fp16(model, fp16)
    images = sample.validation.images
    full, *others = (predict.predict(path, images).probabilities for path in (model, int8, fp16))
    for answers, within in zip(others, (0.1, 0.01), strict=True):
        assert np.abs(answers - full).mean() < within


def flipped(kernel: Array) -> Array:
    return kernel[::-1, ::-1]


def swapped(kernel: Array) -> Array:
    return kernel[:, :, ::-1]


@pytest.mark.parametrize("change", [flipped, swapped])
def test_whitening_that_is_folded_wrongly_is_found(
    whitened: Run,
    sample: DataSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Array], Array],
) -> None:
    fold = to_onnx.fold_normalization

    def wrong(model: keras.Model) -> None:
        fold(model)
        kernel = model.get_layer("whitening").kernel
        kernel.assign(change(np.asarray(kernel)))

    monkeypatch.setattr(to_onnx, "fold_normalization", wrong)
    model, fitted = export(whitened, sample, tmp_path)
    with pytest.raises(TrainingError, match=DIFFERS):
        parity.verify(whitened, model, sample.validation.images, fitted.calibration)


def test_batch_normalisation_that_is_folded_wrongly_is_found(
    whitened: Run, sample: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    centre = to_onnx.centre_logits

    def wrong(model: keras.Model) -> None:
        centre(model)
        layer = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)][-1]
        layer.moving_variance.assign(np.asarray(layer.moving_variance) ** 2)  # no square root

    monkeypatch.setattr(to_onnx, "centre_logits", wrong)
    model, fitted = export(whitened, sample, tmp_path)
    with pytest.raises(TrainingError, match=DIFFERS):
        parity.verify(whitened, model, sample.validation.images, fitted.calibration)


def test_temperature_that_is_left_out_is_found(
    whitened: Run, exported: tuple[Path, Fitted], sample: DataSet, tmp_path: Path
) -> None:
    changed, fitted = tmp_path / "model.onnx", exported[1]
    proto = onnx.load(exported[0])
    (temperature,) = (x for x in proto.graph.initializer if x.name == "temperature")
    assert numpy_helper.to_array(temperature) == np.float32(fitted.calibration.temperature) != 1
    temperature.CopyFrom(numpy_helper.from_array(np.array(1, np.float32), temperature.name))
    onnx.save(proto, changed)
    with pytest.raises(TrainingError, match=DIFFERS):
        parity.verify(whitened, changed, sample.validation.images, fitted.calibration)


def test_weights_of_labels_that_are_rotated_are_found(
    whitened: Run, exported: tuple[Path, Fitted], sample: DataSet, tmp_path: Path
) -> None:
    changed, fitted = tmp_path / "model.onnx", exported[1]
    proto = onnx.load(exported[0])
    name = [node for node in proto.graph.node if node.op_type == "MatMul"][-1].input[1]
    (weights,) = (x for x in proto.graph.initializer if x.name == name)
    rotated = np.roll(numpy_helper.to_array(weights), 1, axis=1)
    weights.CopyFrom(numpy_helper.from_array(rotated, name))
    onnx.save(proto, changed)
    with pytest.raises(TrainingError, match=DIFFERS):
        parity.verify(whitened, changed, sample.validation.images, fitted.calibration)


def test_one_picture_with_another_first_class_is_found(
    trained: Run, sample: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "TOLERANCE", 1.0)
    found = artifact.of_run(trained.folder)
    images = sample.validation.images

    def wrong(model: Path, images: npt.NDArray[np.uint8], *, batch: int) -> predict.Predictions:
        answer = predict.predict(model, images, batch=batch)
        last = answer.probabilities[-1]
        last[[last.argmax(), last.argmin()]] = last[[last.argmin(), last.argmax()]]
        return answer

    calibration = found.read_card().calibration
    parity.verify(trained, found.model, images, calibration)
    monkeypatch.setattr(parity, "predict", wrong)
    with pytest.raises(TrainingError, match=f"in the first class of 1 of {len(images)} pictures"):
        parity.verify(trained, found.model, images, calibration)
