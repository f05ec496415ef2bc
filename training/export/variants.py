"""Faster files beside `model.onnx`: int8 for processors, float16 for CUDA.

In both, the nodes up to the first layer and from the last layer on stay in float32: they take
little time, and rounding raw pixels, logits or energies would cost the most accuracy.
"""

import contextlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper
from onnx.helper import make_node
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from training.data.dataset import DataSet, Split
from training.errors import TrainingError
from training.export import calibration, label_sets_fit, outputs
from training.export.outputs import Fitted
from training.figures import Precision
from training.measure import agreement, metrics
from training.measure.predict import right

ACCURACY_LOSS_LIMIT = 0.005
SIGNIFICANT = 0.05
CALIBRATION_PICTURES = 256
CALIBRATION_SEED = 0
CALIBRATION_METHODS = {
    "min-max": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
WITH_WEIGHTS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Variant:
    """A faster file.

    Attributes:
        path: the file.
        precision: of its inner layers.
        fitted: what it has of its own.
        ranges: how the ranges of an int8 file were found, one of `CALIBRATION_METHODS`.
    """

    path: Path
    precision: Precision
    fitted: Fitted
    ranges: str | None = None


def write(model: Path, data: DataSet) -> list[Variant]:
    """Write `model.int8.onnx` and `model.fp16.onnx` beside `model.onnx`.

    Each gets the calibration and the energy threshold that fit its own answers. A file is deleted
    whose answers are not those of `model.onnx`, or that loses more than half a percentage point of
    validation accuracy, where McNemar's test on the same pictures says that this is not chance.

    Returns:
        The files that are left.
    """
    int8, fp16 = model.with_name("model.int8.onnx"), model.with_name("model.fp16.onnx")
    ranges = write_int8(model, int8, data)
    write_fp16(model, fp16)
    files: tuple[tuple[Path, Precision, str | None], ...] = (
        (int8, "int8", ranges),
        (fp16, "float16", None),
    )
    variants = []
    properties = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    for path, precision, method in files:
        fitted = outputs.fit(path, data.validation, properties)
        if reason := _fault(model, path, data.validation):
            print(f"{path.name} is not kept: {reason}")
            path.unlink()
        else:
            variants.append(Variant(path, precision, fitted, method))
    return variants


def _fault(model: Path, variant: Path, split: Split) -> str | None:
    """Why a file is not kept; None where it is."""
    try:
        agreement.agreement(model, variant, split.images)
    except TrainingError:
        return f"its answers are not those of {model.name}"
    full, own = (right(path, split.images, split.labels) for path in (model, variant))
    lost = float(full.mean() - own.mean())
    if round(lost, 6) > ACCURACY_LOSS_LIMIT and metrics.mcnemar(full, own) < SIGNIFICANT:
        return f"it loses {lost:.2%} of validation accuracy"
    return None


def write_int8(model: Path, path: Path, data: DataSet) -> str:
    """Write a file whose inner layers compute in int8, with ranges found on training pictures.

    It is not calibrated yet.

    Returns:
        The method of finding ranges with the smallest log-loss on the validation pictures of the
        calibration, each with the calibration that fits it best.
    """
    rng = np.random.default_rng(CALIBRATION_SEED)
    count = min(CALIBRATION_PICTURES, len(data.train))
    pictures = data.train.images[rng.choice(len(data.train), count, replace=False)]
    seen, _ = label_sets_fit.halves(data.validation.labels)
    labels = data.validation.labels[seen]
    losses = {}
    with tempfile.TemporaryDirectory() as folder:
        network, prepared = Path(folder) / "network.onnx", Path(folder) / "prepared.onnx"
        proto = onnx.load(model)
        outputs.detach(proto)
        onnx.save(proto, network)
        quant_pre_process(network, prepared, skip_symbolic_shape=True)
        _, body, _ = _parts(onnx.load(prepared).graph)
        for name, method in CALIBRATION_METHODS.items():
            with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
                quantize_static(
                    prepared, Path(folder) / name, _Pictures(pictures),
                    quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8, per_channel=True, reduce_range=False,
                    nodes_to_quantize=[node.name for node in body], calibrate_method=method,
                )  # fmt: skip
            scores = outputs.logits(Path(folder) / name, data.validation.images)[seen]
            losses[name] = calibration.log_loss(calibration.fit(scores, labels), scores, labels)
        best = min(losses, key=lambda name: losses[name])
        proto = onnx.load(Path(folder) / best)
    outputs.attach(proto, len(data.classes))
    onnx.save(proto, path)
    return best


def write_fp16(model: Path, path: Path) -> None:
    """Write a file whose inner layers compute in float16, between two casts."""
    # Own code: converters round outside the inner layers too.
    proto = onnx.shape_inference.infer_shapes(onnx.load(model))
    graph = proto.graph
    weights = {x.name: x for x in graph.initializer if x.data_type == TensorProto.FLOAT}
    floats = {x.name for x in graph.value_info if x.type.tensor_type.elem_type == TensorProto.FLOAT}
    before, body, after = _parts(graph)
    made = {name for node in body for name in node.output}
    for name in _rename_inputs(body, set(weights), "_half"):
        half = numpy_helper.to_array(weights[name]).astype(np.float16)
        graph.initializer.append(numpy_helper.from_array(half, f"{name}_half"))
    enter = _rename_inputs(body, floats - made, "_half")
    leave = _rename_inputs(after, floats & made, "_float")
    nodes = [
        *before,
        *(make_node("Cast", [x], [f"{x}_half"], to=TensorProto.FLOAT16) for x in enter),
        *body,
        *(make_node("Cast", [x], [f"{x}_float"], to=TensorProto.FLOAT) for x in leave),
        *after,
    ]
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    onnx.save(proto, path)


def _parts(graph: onnx.GraphProto) -> tuple[list[onnx.NodeProto], ...]:
    """The nodes before the inner layers, the inner layers, and the nodes after them.

    The inner layers reach from the second to the last but one node with weights. The nodes are in
    the order of computation, and all nodes with weights are in a chain.
    """
    nodes = list(graph.node)
    weighted = [i for i, node in enumerate(nodes) if node.op_type in WITH_WEIGHTS]
    start, stop = weighted[1], weighted[-2] + 1
    return nodes[:start], nodes[start:stop], nodes[stop:]


def _rename_inputs(nodes: list[onnx.NodeProto], names: set[str], suffix: str) -> list[str]:
    """Append a suffix to the inputs with these names; returns the names that occur."""
    found: dict[str, None] = {}
    for node in nodes:
        for position, name in enumerate(node.input):
            if name in names:
                node.input[position] = name + suffix
                found[name] = None
    return list(found)


class _Pictures(CalibrationDataReader):  # type: ignore[misc]
    """Gives the calibration pictures, uint8 (N, height, width, 3), one at a time."""

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        image = next(self._images, None)
        return None if image is None else {"image": image[np.newaxis]}
