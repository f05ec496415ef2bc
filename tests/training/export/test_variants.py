"""The int8 and the fp16 file of a small trained network."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from tests.training.conftest import FOLDERS
from training.data.dataset import DataSet
from training.errors import TrainingError
from training.export import parity, variants
from training.measure import metrics
from training.publish import recheck, repository
from training.publish.repository import Artifact
from training.train.checkpoint import Run

NAMES = {"int8": "model.int8.onnx", "float16": "model.fp16.onnx"}


def convolutions(path: Path) -> tuple[onnx.GraphProto, list[onnx.NodeProto]]:
    graph = onnx.load(path).graph
    return graph, [node for node in graph.node if node.op_type == "Conv"]


@pytest.mark.parametrize("precision", NAMES)
def test_variant_takes_and_gives_what_the_model_does(trained: Run, precision: str) -> None:
    found = repository.of_run(trained.folder)
    model, variant = onnx.load(found.model), onnx.load(found.folder / NAMES[precision])
    assert list(variant.graph.input) == list(model.graph.input)
    assert sorted(x.SerializeToString() for x in variant.graph.output) == sorted(
        x.SerializeToString() for x in model.graph.output
    )


@pytest.mark.parametrize("precision", NAMES)
def test_variant_has_the_metadata_of_the_model_and_its_own_threshold(
    trained: Run, sample: DataSet, precision: str
) -> None:
    found = repository.of_run(trained.folder)
    stated = found.read_card()["files"][NAMES[precision]]
    model, variant = (
        {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        for path in (found.model, found.folder / NAMES[precision])
    )
    answers = metrics.predict(found.folder / NAMES[precision], sample.validation.images)
    assert stated["precision"] == precision
    assert stated["energy_threshold"] == pytest.approx(np.percentile(answers.energy, 5))
    assert json.loads(variant.pop("energy_threshold")) == stated["energy_threshold"]
    assert variant.items() < model.items()


def test_body_is_int8_and_the_first_and_last_layers_are_not(trained: Run) -> None:
    graph, found = convolutions(repository.of_run(trained.folder).folder / NAMES["int8"])
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
    path = repository.of_run(trained.folder).folder / NAMES["float16"]
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    first, *others = (node for node in graph.node if node.op_type == "Conv")
    assert types[first.output[0]] == TensorProto.FLOAT
    assert {types[node.output[0]] for node in others} == {TensorProto.FLOAT16}
    leave = [node for node in graph.node if node.op_type == "Cast"][-1]
    after = list(graph.node)[list(graph.node).index(leave) :]
    inner = {types[name] for node in after for name in node.output if name in types}
    assert inner <= {TensorProto.FLOAT, TensorProto.INT64}


def test_variants_answer_nearly_as_the_model_does(trained: Run) -> None:
    agreement = repository.of_run(trained.folder).read_card()["agreement"]
    assert list(agreement) == list(NAMES.values())
    assert agreement["model.fp16.onnx"]["largest_difference"] < 0.01
    assert agreement["model.int8.onnx"]["largest_difference"] < 0.1
    assert {figures["pictures"] for figures in agreement.values()} == {12}


def test_every_file_is_evaluated_and_those_for_processors_are_timed(trained: Run) -> None:
    card = repository.of_run(trained.folder).read_card()
    assert list(card["metrics"]) == ["model.onnx", *NAMES.values()]
    for splits in card["metrics"].values():
        assert splits["validation"]["unfamiliar_share"] == pytest.approx(0.05, abs=0.05)
        assert {figures["pictures"] for figures in splits.values()} == {12, 40}
    assert list(card["latency"]["files"]) == ["model.onnx", "model.int8.onnx"]
    assert list(card["latency"]["files"]["model.int8.onnx"]) == ["1", "32"]


def test_file_that_loses_too_much_is_not_offered(
    finished: Artifact,
    sample: DataSet,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def write_nonsense(model: Path, path: Path) -> None:
        proto = onnx.load(model)
        for tensor in proto.graph.initializer:
            if len(tensor.dims) == 4:
                zeros = np.zeros(tensor.dims, np.float32)
                tensor.CopyFrom(numpy_helper.from_array(zeros, tensor.name))
        onnx.save(proto, path)

    monkeypatch.setattr(variants, "write_fp16", write_nonsense)
    assert list(variants.write(finished.model, sample)) == ["model.int8.onnx"]
    assert not (finished.folder / "model.fp16.onnx").exists()
    assert "model.fp16.onnx is not offered: it loses " in capsys.readouterr().out


def test_file_that_answers_otherwise_does_not_pass(finished: Artifact, sample: DataSet) -> None:
    proto = onnx.load(finished.model)
    last = [node for node in proto.graph.node if node.op_type in ("Gemm", "MatMul")][-1]
    weight = next(x for x in proto.graph.initializer if x.name == last.input[1])
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    other = finished.folder / "other.onnx"
    onnx.save(proto, other)
    with pytest.raises(TrainingError, match=r"other\.onnx: its probabilities differ"):
        parity.agreement(finished.model, other, sample.validation.images)


def test_wrong_figure_of_a_variant_is_found(finished: Artifact, tmp_path: Path) -> None:
    published = Artifact(repository.publish(finished, tmp_path / "models"))
    card = published.read_card()
    assert len(recheck.recheck(tmp_path / "models", FOLDERS)) == 6
    card["metrics"]["model.int8.onnx"]["test"]["accuracy"] += 0.01
    published.write_card(card)
    with pytest.raises(TrainingError, match=r"int8\.onnx: test accuracy is .*, the card says"):
        recheck.recheck(tmp_path / "models", FOLDERS)
