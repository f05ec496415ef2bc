import json
from collections import Counter
from dataclasses import replace

import keras
import numpy as np
import onnx
import pytest

from training.data.dataset import DataSet
from training.export import to_onnx
from training.measure.predict import predict
from training.presets import DEFAULT, ResizeRule, WhitenedNetwork
from training.publish import artifact
from training.train import network
from training.train.checkpoint import Run


def shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_file_is_the_whole_contract(trained: Run) -> None:
    found = artifact.of_run(trained.folder)
    proto = onnx.load(found.model)
    inputs = {value.name: shape(value) for value in proto.graph.input}
    outputs = {value.name: shape(value) for value in proto.graph.output}
    assert inputs == {"image": ["batch", 32, 32, 3]}
    assert proto.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert outputs == {"probabilities": ["batch", 10], "energy": ["batch"]}
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    card = found.read_card()
    assert (metadata["name"], metadata["version"]) == ("small", "1")
    assert tuple(json.loads(metadata["labels"])) == card.labels
    assert ResizeRule(**json.loads(metadata["resize"])) == card.resize
    assert float(metadata["energy_threshold"]) == card.energy_threshold


def test_layout_optimiser_was_not_defeated(trained: Run) -> None:
    proto = onnx.load(artifact.of_run(trained.folder).model)
    assert Counter(node.op_type for node in proto.graph.node)["Transpose"] <= 2


def test_outputs_are_calibrated_probabilities_and_energy(trained: Run, sample: DataSet) -> None:
    found = artifact.of_run(trained.folder)
    card = found.read_card()
    images = sample.validation.images
    scores = to_onnx.logits(to_onnx.load_float32(trained), images)
    answer = predict(found.model, images)
    np.testing.assert_allclose(answer.probabilities, card.calibration.apply(scores), atol=1e-5)
    np.testing.assert_allclose(answer.energy, np.log(np.exp(scores).sum(axis=1)), rtol=1e-5)
    assert np.mean(answer.energy < card.energy_threshold) == pytest.approx(0.05, abs=0.05)


def test_normalisation_becomes_part_of_the_whitening() -> None:
    preset = replace(DEFAULT, network=WhitenedNetwork(widths=(4, 4, 4)))
    mean, variance = np.array([120.0, 110, 100]), np.array([3600.0, 3500, 4000])
    model = network.build(preset, 3, mean=mean, variance=variance, for_inference=True)
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3)).astype(np.uint8)
    network.initialise(model, images)
    before = np.asarray(model(images))
    to_onnx.fold_normalization(model)
    np.testing.assert_allclose(np.asarray(model(images)), before, atol=1e-5)
    normalization = next(x for x in model.layers if isinstance(x, keras.layers.Normalization))
    np.testing.assert_array_equal(np.asarray(normalization(images)), images)


def test_centred_logits_sum_to_zero_and_keep_their_differences(trained: Run) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    model = keras.saving.load_model(trained.checkpoint, compile=False)
    before = to_onnx.logits(model, images)
    to_onnx.centre_logits(model)
    after = to_onnx.logits(model, images)
    np.testing.assert_allclose(after.sum(axis=1), 0, atol=1e-4)
    centred = before - before.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(after, centred, atol=2e-2)  # trained in bfloat16
