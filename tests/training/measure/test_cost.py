from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from training.measure import cost

NETWORK = """
<ir_version: 10, opset_import: ["": 18, "com.microsoft": 1]>
network (uint8[batch, 8, 8, 3] image) => (float[batch, 10] scores) {
  pixels = Cast <to = 1> (image)
  first = Transpose <perm = [0, 3, 1, 2]> (pixels)
  wide = Conv <pads = [1, 1, 1, 1]> (first, kernel, bias)
  active = com.microsoft.Gelu (wide)
  deep = Conv <group = 6> (active, depthwise)
  flat = Flatten (deep)
  scores = MatMul (flat, dense)
}
"""
WEIGHTS = {"kernel": (6, 3, 3, 3), "bias": (6,), "depthwise": (6, 1, 3, 3), "dense": (216, 10)}
MULTIPLICATIONS = 8 * 8 * 6 * 27 + 6 * 6 * 6 * 9 + 216 * 10


class Noise(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
        self.batches = iter([{"image": images}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def write(network: str, path: Path) -> Path:
    proto = parser.parse_model(network)
    rng = np.random.default_rng(0)
    for name, shape in WEIGHTS.items():
        values = rng.normal(size=shape).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(values, name))
    onnx.save(proto, path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(NETWORK, tmp_path / "model.onnx")


def test_operations_are_those_counted_by_hand(model: Path) -> None:
    assert cost.flops(model) == 2 * MULTIPLICATIONS


def test_parameters_are_the_numbers_in_the_file(model: Path) -> None:
    assert cost.parameters(model) == sum(int(np.prod(shape)) for shape in WEIGHTS.values())


def test_quantisation_changes_neither_operations_nor_parameters(model: Path) -> None:
    quantised = model.with_name("model.int8.onnx")
    quantize_static(model, quantised, Noise(), quant_format=QuantFormat.QDQ, per_channel=True)
    assert cost.flops(quantised) == cost.flops(model)
    assert cost.parameters(quantised) == cost.parameters(model)


def test_integer_operators_count_like_those_of_floats(tmp_path: Path) -> None:
    model = write(NETWORK.replace("com.microsoft.Gelu", "Relu"), tmp_path / "model.onnx")
    quantised = tmp_path / "model.int8.onnx"
    quantize_static(model, quantised, Noise(), quant_format=QuantFormat.QOperator)
    kinds = {node.op_type for node in onnx.load(quantised).graph.node}
    assert {"QLinearConv", "QLinearMatMul"} <= kinds
    assert cost.flops(quantised) == 2 * MULTIPLICATIONS
