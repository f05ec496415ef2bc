"""The outputs of an exported file: nodes behind its logits, fitted on the file's own answers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper
from onnx.helper import make_node, make_tensor_value_info, set_model_props
from scipy.special import logsumexp

from training.data.dataset import Split
from training.export import calibration, label_sets_fit, second_view_fit
from training.export.calibration import Calibration, Floats
from training.measure.label_sets import Thresholds
from training.measure.predict import Predictions, run
from training.measure.second_view import SecondView, mirrored

LOGITS = "logits"
# Of probabilities and energies of `model.onnx`, against those of the trained network.
TOLERANCE = 1e-4
# Metadata that each file has of its own, or has not.
OPTIONAL = ("second_view", "label_sets")


@dataclass(frozen=True)
class Fitted:
    """What a file has of its own: fitted on its answers for the validation split.

    Attributes:
        calibration: from logits to probabilities.
        energy_threshold: pictures with less energy count as unfamiliar.
        second_view: which pictures are computed twice; None for none.
        label_sets: by coverage; None where there are too few pictures.
    """

    calibration: Calibration
    energy_threshold: float
    second_view: SecondView | None
    label_sets: Thresholds | None

    def properties(self) -> dict[str, str]:
        """What of it is in the metadata of the file."""
        values = {
            "energy_threshold": repr(self.energy_threshold),
            "second_view": self.second_view and json.dumps(self.second_view.to_json()),
            "label_sets": self.label_sets and json.dumps(dict(self.label_sets)),
        }
        return {key: value for key, value in values.items() if value}


def attach(proto: onnx.ModelProto, classes: int) -> None:
    """Make `probabilities` and `energy` the outputs of a graph whose output is `logits`.

    The probabilities are not calibrated yet: `fit` does that.
    """
    nodes = (
        ("ReduceMax", [LOGITS, "class_axis"], "top"),
        ("Sub", ["top", LOGITS], "gaps"),
        ("Pow", ["gaps", "exponent"], "powers"),
        ("Div", ["powers", "temperature"], "scaled"),
        ("Neg", ["scaled"], "scores"),
        ("Softmax", ["scores"], "softmax"),
        ("Mul", ["softmax", "share"], "part"),
        ("Add", ["part", "rest"], "probabilities"),
        # The logsumexp of the logits, without overflow.
        ("Neg", ["gaps"], "differences"),
        ("Exp", ["differences"], "ratios"),
        ("ReduceSum", ["ratios", "class_axis"], "sum"),
        ("Log", ["sum"], "log"),
        ("Add", ["log", "top"], "energies"),
        ("Squeeze", ["energies", "class_axis"], "energy"),
    )
    graph = proto.graph
    graph.node.extend(make_node(kind, ins, [out], f"outputs/{out}") for kind, ins, out in nodes)
    axis = numpy_helper.from_array(np.array([1], np.int64), "class_axis")
    graph.initializer.extend([axis, *_tensors(Calibration(), classes)])
    del graph.output[:]
    shapes: dict[str, list[str | int]] = {"probabilities": ["batch", classes], "energy": ["batch"]}
    graph.output.extend(
        make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()
    )


def detach(proto: onnx.ModelProto) -> None:
    """Make `logits` the only output of a graph with the outputs of `attach`.

    Tools that rewrite a graph drop a division by 1, and share constants that are equal.
    """
    graph, classes = proto.graph, proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    used, nodes = {LOGITS}, list[onnx.NodeProto]()
    for node in reversed(graph.node):
        if used.intersection(node.output):
            used.update(node.input)
            nodes.insert(0, node)
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    graph.output.append(make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["batch", classes]))


def fit(path: Path, validation: Split, properties: Mapping[str, str]) -> Fitted:
    """Fit to the answers of a file what it has of its own, and write that into it.

    Args:
        path: the file, which has the outputs of `attach`.
        validation: the split that all is fitted on; thresholds of label sets on a half that the
            calibration and the rule of second views have not seen.
        properties: further metadata of the file; what another file has of its own is left out.
    """
    scores, labels = logits(path, validation.images), validation.labels
    seen, unseen = label_sets_fit.halves(labels)
    own = calibration.fit(scores[seen], labels[seen])
    first, second = own.apply(scores), own.apply(logits(path, mirrored(validation.images)))
    rule = second_view_fit.fit(first[seen], second[seen], labels[seen])
    served = first.copy()
    if rule is not None:
        unsure = rule.asks(first)
        served[unsure] = rule.combine(first[unsure], second[unsure])
    fitted = Fitted(
        calibration=own,
        energy_threshold=calibration.energy_threshold(logsumexp(scores, axis=1)),
        second_view=rule,
        label_sets=label_sets_fit.fit(served[unseen], labels[unseen]),
    )
    proto = onnx.load(path)
    fits = {x.name: x for x in _tensors(fitted.calibration, scores.shape[1])}
    for tensor in proto.graph.initializer:
        if tensor.name in fits:
            tensor.CopyFrom(fits[tensor.name])
    kept = {key: value for key, value in properties.items() if key not in OPTIONAL}
    set_model_props(proto, kept | fitted.properties())
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)
    return fitted


def logits(path: Path, images: npt.NDArray[np.uint8]) -> Floats:
    """The logits (N, classes) that a file computes for uint8 pictures (N, size, size, 3)."""
    (scores,) = run(_with_output(path), [LOGITS], images)
    return scores


def with_logits(path: Path, images: npt.NDArray[np.uint8]) -> tuple[Floats, Predictions]:
    """The logits (N, classes) of a file, and what the same run makes of them."""
    names = [LOGITS, "probabilities", "energy"]
    scores, *outputs = run(_with_output(path), names, images)
    return scores, Predictions(*outputs)


def _with_output(path: Path) -> bytes:
    """A file whose logits are an output, too."""
    proto = onnx.load(path)
    if LOGITS not in [output.name for output in proto.graph.output]:
        proto.graph.output.append(onnx.ValueInfoProto(name=LOGITS))
    written: bytes = proto.SerializeToString()
    return written


def constants(values: Calibration, classes: int) -> dict[str, np.float32]:
    """The numbers of a calibration in a file, by the names of their tensors."""
    share = values.share(classes)
    numbers = {
        "exponent": values.exponent,
        "temperature": values.temperature,
        "share": share,
        "rest": (1 - share) / classes,
    }
    return {name: np.float32(number) for name, number in numbers.items()}


def read_constants(proto: onnx.ModelProto) -> dict[str, np.float32]:
    """Those of a file; none for one that was exported before they had these names."""
    names = constants(Calibration(), 2)
    return {
        tensor.name: np.float32(numpy_helper.to_array(tensor))
        for tensor in proto.graph.initializer
        if tensor.name in names
    }


def _tensors(values: Calibration, classes: int) -> list[TensorProto]:
    numbers = constants(values, classes)
    return [numpy_helper.from_array(np.array(x), name) for name, x in numbers.items()]
