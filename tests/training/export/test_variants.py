"""The int8 and the fp16 file of a small trained network."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from scipy.special import logsumexp

from training.data.dataset import DataSet, Split
from training.export import calibration, outputs, variants
from training.export.calibration import Calibration
from training.measure import agreement
from training.measure.predict import predict
from training.publish import artifact
from training.publish.artifact import Artifact
from training.train.checkpoint import Run

NAMES = {"int8": "model.int8.onnx", "float16": "model.fp16.onnx"}


def convolutions(path: Path) -> tuple[onnx.GraphProto, list[onnx.NodeProto]]:
    graph = onnx.load(path).graph
    return graph, [node for node in graph.node if node.op_type == "Conv"]


@pytest.mark.parametrize("precision", NAMES)
def test_variant_takes_and_gives_what_the_model_does(trained: Run, precision: str) -> None:
    found = artifact.of_run(trained.folder)
    model, variant = onnx.load(found.model), onnx.load(found.folder / NAMES[precision])
    assert list(variant.graph.input) == list(model.graph.input)
    assert sorted(x.SerializeToString() for x in variant.graph.output) == sorted(
        x.SerializeToString() for x in model.graph.output
    )


@pytest.mark.parametrize("precision", NAMES)
def test_variant_has_the_metadata_of_the_model_and_its_own_threshold(
    trained: Run, sample: DataSet, precision: str
) -> None:
    found = artifact.of_run(trained.folder)
    stated = found.read_card().files[NAMES[precision]]
    model, variant = (
        {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        for path in (found.model, found.folder / NAMES[precision])
    )
    answers = predict(found.folder / NAMES[precision], sample.validation.images)
    assert stated.precision == precision
    assert stated.energy_threshold == pytest.approx(np.percentile(answers.energy, 5))
    assert json.loads(variant.pop("energy_threshold")) == stated.energy_threshold
    assert variant.items() < model.items()


def test_body_is_int8_and_the_first_and_last_layers_are_not(trained: Run) -> None:
    graph, found = convolutions(artifact.of_run(trained.folder).folder / NAMES["int8"])
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    sizes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    first, *others = (node.input[1] for node in found)
    last = [node for node in graph.node if node.op_type in ("Gemm", "MatMul")][-1].input[1]
    assert types[first] == types[last] == TensorProto.FLOAT
    assert len(others) == 3
    for name in others:
        weight, scale, *_ = made_by[name].input
        assert types[weight] == TensorProto.INT8
        assert sizes[scale] == sizes[weight][:1]  # one for each output channel


def test_body_is_fp16_and_the_rest_is_not(trained: Run) -> None:
    path = artifact.of_run(trained.folder).folder / NAMES["float16"]
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    first, *others = (node for node in graph.node if node.op_type == "Conv")
    assert types[first.output[0]] == TensorProto.FLOAT
    assert {types[node.output[0]] for node in others} == {TensorProto.FLOAT16}
    leave = [node for node in graph.node if node.op_type == "Cast"][-1]
    after = list(graph.node)[list(graph.node).index(leave) :]
    inner = {types[name] for node in after for name in node.output if name in types}
    assert inner <= {TensorProto.FLOAT, TensorProto.INT64}


@pytest.mark.parametrize("precision", NAMES)
def test_calibration_of_one_is_a_part_of_the_file_that_can_be_fitted(
    trained: Run, precision: str
) -> None:
    found = artifact.of_run(trained.folder)
    assert found.read_card().calibration.temperature == 1  # tools leave out a division by it
    constants = outputs.read_constants(onnx.load(found.folder / NAMES[precision]))
    assert constants.keys() == outputs.constants(Calibration(), 10).keys()


def answered_rightly(found: Artifact, sample: DataSet) -> DataSet:
    """The sample with validation labels that `model.onnx` is always right about."""
    images = sample.validation.images
    labels = predict(found.model, images).probabilities.argmax(axis=1)
    return replace(sample, validation=Split(images, labels))


def write_nonsense(model: Path, path: Path) -> None:
    """A file that gives every picture the same answer."""
    proto = onnx.load(model)
    for tensor in proto.graph.initializer:
        if len(tensor.dims) == 4:
            zeros = np.zeros(tensor.dims, np.float32)
            tensor.CopyFrom(numpy_helper.from_array(zeros, tensor.name))
    onnx.save(proto, path)


def test_file_that_loses_too_much_accuracy_is_deleted(
    finished: Artifact,
    sample: DataSet,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(agreement, "TOLERANCE", 1.0)
    monkeypatch.setattr(variants, "write_fp16", write_nonsense)
    kept = variants.write(finished.model, answered_rightly(finished, sample))
    assert [variant.path.name for variant in kept] == ["model.int8.onnx"]
    assert not (finished.folder / "model.fp16.onnx").exists()
    assert "model.fp16.onnx is not kept: it loses " in capsys.readouterr().out


def test_file_with_other_answers_is_deleted_though_it_loses_no_accuracy(
    finished: Artifact,
    sample: DataSet,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(variants, "write_fp16", write_nonsense)
    images = sample.validation.images
    never = predict(finished.model, images).probabilities.argmin(axis=1)
    data = replace(sample, validation=Split(images, never))
    kept = variants.write(finished.model, data)
    assert "model.fp16.onnx" not in [variant.path.name for variant in kept]
    assert not (finished.folder / "model.fp16.onnx").exists()
    said = "model.fp16.onnx is not kept: its answers are not those of model.onnx"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pictures", "lost", "kept"),
    [(12, 1, True), (12, 7, False), (5000, 24, True), (5000, 40, False)],
)
def test_loss_that_may_be_chance_deletes_no_file(
    finished: Artifact,
    sample: DataSet,
    monkeypatch: pytest.MonkeyPatch,
    pictures: int,
    lost: int,
    kept: bool,
) -> None:
    def right(path: Path, *_: object) -> npt.NDArray[np.bool_]:
        return np.arange(pictures) >= (lost if path.name == "model.fp16.onnx" else 0)

    monkeypatch.setattr(variants, "right", right)
    monkeypatch.setattr(variants, "write_int8", lambda model, path, _: shutil.copy(model, path))
    names = [variant.path.name for variant in variants.write(finished.model, sample)]
    assert names == ["model.int8.onnx"] + ["model.fp16.onnx"] * kept


@pytest.mark.parametrize("name", ["model.onnx", *NAMES.values()])
def test_calibration_and_threshold_of_a_file_fit_its_own_answers(
    trained: Run, sample: DataSet, name: str
) -> None:
    found = artifact.of_run(trained.folder)
    stated = found.read_card().files[name]
    scores = outputs.logits(found.folder / name, sample.validation.images)
    own = calibration.fit(scores, sample.validation.labels)
    assert (stated.temperature, stated.exponent, stated.certainty) == pytest.approx(
        (own.temperature, own.exponent, own.certainty)
    )
    answers = predict(found.folder / name, sample.validation.images)
    np.testing.assert_allclose(answers.probabilities, own.apply(scores), atol=1e-6)
    np.testing.assert_allclose(answers.energy, logsumexp(scores, axis=1), atol=1e-5)
