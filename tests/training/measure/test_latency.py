from pathlib import Path

import onnx
from onnx import TensorProto, helper

from training.measure import latency


def write_network(path: Path, layers: int) -> Path:
    """A file of nothing but convolutions, with the input of an artifact."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["layer0"], perm=[0, 3, 1, 2]),
    ]
    for layer in range(layers):
        nodes.append(helper.make_node("Conv", [f"layer{layer}", "kernel"], [f"layer{layer + 1}"]))
    kernel = helper.make_tensor("kernel", TensorProto.FLOAT, [3, 3, 1, 1], [0.1] * 9)
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 64, 64, 3])
    result = helper.make_tensor_value_info(f"layer{layers}", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "network", [image], [result], [kernel])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def test_each_file_has_a_row_for_each_batch_in_microseconds_a_picture(tmp_path: Path) -> None:
    paths = [write_network(tmp_path / f"{n}.onnx", n) for n in (1, 40)]
    table = latency.measure(paths, batches=(1, 4)).set_index(["path", "batch"])
    assert list(table.index) == [(path, batch) for batch in (1, 4) for path in paths]
    assert (table["min"] <= table["median"]).all()
    assert (table["median"] <= table["max"]).all()
    assert table["min"].between(1, 1e6).all()


def test_more_work_takes_longer(tmp_path: Path) -> None:
    paths = [write_network(tmp_path / f"{n}.onnx", n) for n in (1, 40)]
    little, much = latency.measure(paths, batches=(1,))["min"]
    assert much > 2 * little
