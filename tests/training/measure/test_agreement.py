import onnx
import pytest
from onnx import numpy_helper

from training.data.dataset import DataSet
from training.errors import TrainingError
from training.measure import agreement
from training.publish import artifact
from training.publish.artifact import Artifact
from training.train.checkpoint import Run


def test_variants_answer_nearly_as_the_model_does(trained: Run) -> None:
    found = artifact.of_run(trained.folder).read_card().agreement
    assert list(found) == ["model.int8.onnx", "model.fp16.onnx"]
    assert found["model.fp16.onnx"].largest_difference < 0.01
    assert found["model.int8.onnx"].largest_difference < 0.1
    assert {figures.pictures for figures in found.values()} == {12}


def test_file_with_other_answers_is_refused(finished: Artifact, sample: DataSet) -> None:
    proto = onnx.load(finished.model)
    last = [node for node in proto.graph.node if node.op_type in ("Gemm", "MatMul")][-1]
    weight = next(x for x in proto.graph.initializer if x.name == last.input[1])
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    other = finished.folder / "other.onnx"
    onnx.save(proto, other)
    with pytest.raises(TrainingError, match=r"other\.onnx: its probabilities differ"):
        agreement.agreement(finished.model, other, sample.validation.images)
