"""A real, tiny model: each class answers for one colour channel."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

LABELS = ["red", "green", "blue"]


def write_model(
    models: Path,
    name: str = "tiny",
    version: int = 1,
    *,
    size: tuple[int, int] = (8, 8),
    labels: Sequence[str] = LABELS,
    resize: dict[str, str] | None = None,
    energy_threshold: float = 0.5,
    endless: bool = False,
    second_view: dict[str, object] | None = None,
    closer_look: dict[str, object] | None = None,
    label_sets: dict[str, list[float]] | None = None,
) -> Path:
    """Publishes a tiny model; returns the folder of the version.

    Its logits are four times the mean of each channel in 0..1, so that a picture's class is its
    strongest colour and a dark picture is unfamiliar. An `endless` one never comes to an end on a
    white picture. One with a `second_view` sees the left half of a picture alone.
    """
    height, width = size
    properties: dict[str, Any] = {
        "name": name,
        "version": version,
        "labels": labels,
        "resize": resize or {"mode": "stretch", "filter": "bilinear"},
        "energy_threshold": energy_threshold,
        **({"closer_look": closer_look} if closer_look else {}),
    }
    optional = {"second_view": second_view, "label_sets": label_sets}
    own: dict[str, Any] = {key: value for key, value in optional.items() if value}
    seen = width // 2 if second_view else width
    data = _graph(height, width, properties | own, endless, seen).SerializeToString()
    folder = models / name / str(version)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    card = {
        **properties,
        "input": {"height": height, "width": width},
        "files": {"model.onnx": {"sha256": digest, "bytes": len(data), **own}},
    }
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def replace_model(model: Path, data: bytes) -> None:
    """Puts another file there, and states its sha256 in the card."""
    model.write_bytes(data)
    card = json.loads(model.with_name("card.json").read_text())
    card["files"][model.name]["sha256"] = hashlib.sha256(data).hexdigest()
    model.with_name("card.json").write_text(json.dumps(card))


def add_variant(
    folder: Path,
    precision: str,
    *,
    accuracy: float | None = 0.9,
    split: str = "test",
    energy_threshold: float = 0.7,
) -> Path:
    """Puts a file of another precision beside `model.onnx`, whose accuracy is 0.9; returns it.

    It computes as `model.onnx` does, and differs in its energy threshold alone.
    """
    path = folder / {"int8": "model.int8.onnx", "float16": "model.fp16.onnx"}[precision]
    model = onnx.load(folder / "model.onnx")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, properties | {"energy_threshold": json.dumps(energy_threshold)})
    data = model.SerializeToString()
    path.write_bytes(data)
    card = json.loads((folder / "card.json").read_text())
    card["accuracy_loss_limit"] = 0.005
    card["files"][path.name] = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "precision": precision,
        "energy_threshold": energy_threshold,
    }
    figures = card.setdefault("metrics", {})
    figures["model.onnx"] = {"test": {"accuracy": 0.9}, "validation": {"accuracy": 0.9}}
    if accuracy is not None:
        figures[path.name] = {split: {"accuracy": accuracy}}
    (folder / "card.json").write_text(json.dumps(card))
    return path


def _graph(
    height: int, width: int, properties: dict[str, Any], endless: bool, seen: int
) -> onnx.ModelProto:
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [4 / 255])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    left, right, columns = (
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("left", 0), ("right", seen), ("columns", 2))
    )
    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["image", "left", "right", "columns"], ["seen"]),
            helper.make_node("Cast", ["seen"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["float", "scale"], ["scaled"]),
            helper.make_node("ReduceMean", ["scaled"], ["means"], axes=[1, 2], keepdims=0),
            *(_loop_on_white() if endless else []),
            helper.make_node("Identity", ["same_means" if endless else "means"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
            helper.make_node("Exp", ["logits"], ["exp"]),
            helper.make_node("ReduceSum", ["exp", "axes"], ["sum"], keepdims=0),
            helper.make_node("Log", ["sum"], ["energy"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", height, width, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("energy", TensorProto.FLOAT, ["batch"]),
        ],
        [scale, axes, left, right, columns],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(
        model, {k: v if k == "name" else json.dumps(v) for k, v in properties.items()}
    )
    return model


def _loop_on_white() -> list[onnx.NodeProto]:
    """Computes `same_means`, which are the `means`, over and over on a white picture."""
    turn, go_on, value = (
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in (
            ("turn", TensorProto.INT64, []),
            ("go_on", TensorProto.BOOL, []),
            ("value", TensorProto.FLOAT, None),
        )
    )
    again = helper.make_tensor_value_info("again", TensorProto.BOOL, [])
    same = helper.make_tensor_value_info("same", TensorProto.FLOAT, None)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["again"]),
            helper.make_node("Abs", ["value"], ["same"]),
        ],
        "body",
        [turn, go_on, value],
        [again, same],
    )
    constants = {
        "white": helper.make_tensor("", TensorProto.FLOAT, [], [255]),
        "many": helper.make_tensor("", TensorProto.INT64, [], [10**15]),
        "one": helper.make_tensor("", TensorProto.INT64, [], [1]),
    }
    return [
        *(helper.make_node("Constant", [], [name], value=x) for name, x in constants.items()),
        helper.make_node("ReduceMin", ["float"], ["darkest"], keepdims=0),
        helper.make_node("Equal", ["darkest", "white"], ["is_white"]),
        helper.make_node("Where", ["is_white", "many", "one"], ["turns"]),
        helper.make_node("Loop", ["turns", "", "means"], ["same_means"], body=body),
    ]
