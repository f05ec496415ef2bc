"""Whether ONNX files are what their card says of them; no picture is computed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from training.errors import TrainingError
from training.export import outputs
from training.export.outputs import OPTIONAL
from training.figures import Precision
from training.publish.artifact import Artifact
from training.publish.card import ExportedCard


def check(found: Artifact, card: ExportedCard) -> None:
    """Compare each file with its card: metadata, input, calibration, precision and size.

    Raises:
        TrainingError: they differ; the message names all that does.
    """
    faults = [fault for name in card.files for fault in _faults(found.folder / name, card)]
    if faults:
        raise TrainingError("\n".join(faults))


def _faults(path: Path, card: ExportedCard) -> Iterator[str]:
    written, stated = _written(path), _stated(path.name, card)
    for key, value in stated.items():
        if written.get(key) != value:
            yield f"{path}: its {key} differs from the card"


def _written(path: Path) -> dict[str, Any]:
    """What a file says of itself."""
    proto = onnx.load(path)
    values = {entry.key: entry.value for entry in proto.metadata_props}
    texts = {key: values.pop(key, None) for key in ("name", "version")}
    _, height, width, _ = proto.graph.input[0].type.tensor_type.shape.dim
    return {
        **texts,
        **{key: json.loads(value) for key, value in values.items()},
        "input": {"height": height.dim_value, "width": width.dim_value},
        "bytes": path.stat().st_size,
        "precision": _precision(proto.graph),
        "temperature, exponent or certainty": outputs.read_constants(proto),
    }


def _stated(name: str, card: ExportedCard) -> dict[str, Any]:
    """What the card says of a file; None where it says that the file has no such thing."""
    file = card.files[name]
    # Files that were exported before each had its own calibration do not name its constants.
    constants = outputs.constants(card.calibration_of(name), len(card.labels))
    return {
        **card.model_dump(mode="json", include={"name", "labels", "input", "closer_look"}),
        "version": str(card.version),
        "resize": {"mode": card.resize.mode, "filter": card.resize.filter},
        **file.model_dump(
            mode="json", include={"energy_threshold", "bytes", "precision", *OPTIONAL}
        ),
        "temperature, exponent or certainty": constants if file.temperature is not None else {},
    }


def _precision(graph: onnx.GraphProto) -> Precision:
    if any(node.op_type == "DequantizeLinear" for node in graph.node):
        return "int8"
    halves = (x.data_type == onnx.TensorProto.FLOAT16 for x in graph.initializer)
    return "float16" if any(halves) else "float32"
