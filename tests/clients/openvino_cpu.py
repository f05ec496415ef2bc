"""OpenVINO on the files that are served: python openvino_cpu.py URL (it needs no server).

It must give the answers of ONNX Runtime for every `model.onnx` of the repository. What it makes of
the other files, which round where each runtime likes, is printed and not judged.
"""

from pathlib import Path

import numpy as np
import onnxruntime
import openvino
from numpy.typing import NDArray
from openvino.properties import hint
from PIL import Image

ROOT = Path(__file__).parents[2]
# Of probabilities and energies: float32 sums in another order differ by less than 1e-5. A graph
# that OpenVINO misreads was 0.2 off (see `training/train/network.py`).
TOLERANCE = 1e-4

Outputs = dict[str, NDArray[np.float32]]


def main() -> None:
    """Compares every file."""
    models = sorted(ROOT.glob("models/*/*/model*.onnx"))
    assert [path for path in models if path.name == "model.onnx"]
    for model in models:
        pictures = read_pictures(model)
        difference = compare(by_openvino(model, pictures), by_onnxruntime(model, pictures))
        print(f"  {model.relative_to(ROOT)}: answers differ by at most {difference:.1e}")
        assert model.name != "model.onnx" or difference <= TOLERANCE, f"more than {TOLERANCE}"


def read_pictures(model: Path) -> NDArray[np.uint8]:
    """The pictures of the tests in the size of the model: uint8 (N, height, width, 3)."""
    _, height, width, _ = onnxruntime.InferenceSession(model).get_inputs()[0].shape
    files = sorted(ROOT.glob("tests/data/cifar10/*/*/*.jpg"))
    return np.stack([np.asarray(Image.open(path).resize((width, height))) for path in files])


def by_openvino(model: Path, pictures: NDArray[np.uint8]) -> Outputs:
    """Its answers in float32, which it would round to bfloat16 on processors that have that."""
    compiled = openvino.Core().compile_model(
        model, "CPU", {hint.inference_precision: openvino.Type.f32}
    )
    answers = compiled(pictures)
    return {output.any_name: answers[output] for output in compiled.outputs}


def by_onnxruntime(model: Path, pictures: NDArray[np.uint8]) -> Outputs:
    """The answers of the runtime that the service has."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": pictures}), strict=True))


def compare(found: Outputs, expected: Outputs) -> float:
    """The largest difference between two answers, over all pictures and outputs."""
    assert found.keys() == expected.keys() == {"probabilities", "energy"}
    return max(float(np.abs(found[name] - expected[name]).max()) for name in expected)


if __name__ == "__main__":
    main()
