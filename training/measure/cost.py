"""Operations and parameters of an exported file."""

from collections.abc import Iterable
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from training.figures import Figures

# The input whose shape gives the multiplications for one number of the output: the kernel of a
# convolution (channels out, channels in, height, width), the left factor of a product.
_CONVOLUTIONS = {"Conv": 1, "QLinearConv": 3}
_PRODUCTS = {"Gemm": 0, "MatMul": 0, "QLinearMatMul": 0}


class Cost(Figures):
    """Cost of one picture: floating-point operations, and parameters in the file."""

    flops: int
    parameters: int


def cost(model: Path) -> Cost:
    """The cost of an exported file."""
    return Cost(flops=flops(model), parameters=parameters(model))


def flops(model: Path) -> int:
    """Operations of all convolutions and matrix products for one picture.

    A multiplication and its addition are two operations, in any precision. As in the literature,
    activations, pooling and normalisation are not counted.
    """
    proto = onnx.load(model)
    factors = _CONVOLUTIONS | _PRODUCTS
    nodes = [
        (node.op_type, node.input[factors[node.op_type]], node.output[0])
        for node in proto.graph.node
        if node.op_type in factors
    ]
    shapes = _shapes(proto, {name for _, *names in nodes for name in names})
    total = 0
    for kind, factor, output in nodes:
        shape = shapes[factor]
        each = prod(shape[1:]) if kind in _CONVOLUTIONS else shape[-1]
        total += 2 * prod(shapes[output]) * each
    return total


def parameters(model: Path) -> int:
    """Weights and other constants of the file, without scales of the quantisation and shapes."""
    graph = onnx.load(model).graph
    quantizers = ("QuantizeLinear", "DequantizeLinear")
    scales = {name for node in graph.node if node.op_type in quantizers for name in node.input[1:]}
    return sum(
        prod(tensor.dims)
        for tensor in graph.initializer
        if tensor.name not in scales and tensor.data_type != onnx.TensorProto.INT64  # shapes
    )


def _shapes(proto: onnx.ModelProto, names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of values for one picture, found by running the graph, which works for any operator.

    Replaces the outputs of `proto`.
    """
    known = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    wanted = sorted(set(names) - set(known))
    image = proto.graph.input[0]
    size = [dim.dim_value for dim in image.type.tensor_type.shape.dim[1:]]
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(wanted, {image.name: np.zeros((1, *size), np.uint8)})
    return known | {name: value.shape for name, value in zip(wanted, values, strict=True)}
