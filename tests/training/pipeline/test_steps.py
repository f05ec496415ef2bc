import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.helper import set_model_props

from tests.training.conftest import FOLDERS, change_card
from training.data.dataset import DataSet
from training.errors import TrainingError
from training.export import outputs
from training.export.calibration import Calibration
from training.pipeline import steps
from training.publish import artifact
from training.publish.artifact import sha256
from training.train.checkpoint import Run


def test_model_is_named_after_its_data(sample: DataSet) -> None:
    assert steps.model_name(sample, FOLDERS) == "cifar10"
    assert steps.model_name(sample, None) == "cifar10"


@pytest.mark.parametrize("name", [".hidden", "two\nlines"])
def test_folder_whose_name_is_none_for_a_model_is_named(sample: DataSet, name: str) -> None:
    own = replace(sample, classes=("a", "b"))
    with pytest.raises(TrainingError, match="name the model with --name"):
        steps.model_name(own, Path(name))


def test_other_data_than_the_run_was_trained_on_is_refused(trained: Run, kaggle: Path) -> None:
    lines = (kaggle / "train.csv").read_text().splitlines()
    (kaggle / "train.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(TrainingError, match="trained on other data than --data names"):
        steps.load_for(trained, kaggle)


CALIBRATION = Calibration(temperature=1.3, exponent=1.5, certainty=0.95)


@pytest.fixture
def calibrated(trained: Run, tmp_path: Path) -> Run:
    """A copy of the trained run whose files all have a calibration that changes their answers."""
    run = Run(Path(shutil.copytree(trained.folder, tmp_path / "run")))
    for name in artifact.of_run(run.folder).read_exported().files:
        change_file(run, name, calibrate)
    change_card(artifact.of_run(run.folder), lambda card: card.update(asdict(CALIBRATION)))
    return run


def change_file(run: Run, name: str, change: Callable[[onnx.ModelProto], None]) -> None:
    """Change a file, and describe it in the card as `export` does."""
    found = artifact.of_run(run.folder)
    path = found.folder / name
    proto = onnx.load(path)
    change(proto)
    onnx.save(proto, path)
    described = asdict(CALIBRATION) | {"sha256": sha256(path), "bytes": path.stat().st_size}
    change_card(found, lambda card: card["files"][name].update(described))


def calibrate(proto: onnx.ModelProto) -> None:
    write_constants(proto, CALIBRATION)


def write_constants(proto: onnx.ModelProto, calibration: Calibration) -> None:
    numbers = outputs.constants(calibration, 10)
    for tensor in proto.graph.initializer:
        if tensor.name in numbers:
            number = np.array(numbers[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(number, tensor.name))


def halve_the_temperature(proto: onnx.ModelProto) -> None:
    write_constants(proto, replace(CALIBRATION, temperature=CALIBRATION.temperature / 2))


def leave_out(node: str) -> Callable[[onnx.ModelProto], None]:
    """A change that passes the first input of a node on in place of its output."""

    def change(proto: onnx.ModelProto) -> None:
        (left,) = (x for x in proto.graph.node if x.output[0] == node)
        for other in proto.graph.node:
            for position, name in enumerate(other.input):
                if name == node:
                    other.input[position] = left.input[0]

    return change


def rotate_the_labels(proto: onnx.ModelProto) -> None:
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    first, *others = json.loads(properties["labels"])
    set_model_props(proto, properties | {"labels": json.dumps([*others, first])})


def test_calibrated_files_are_verified(calibrated: Run, sample: DataSet) -> None:
    assert steps.verify_run(calibrated, sample) <= 1e-5


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx", "model.fp16.onnx"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (halve_the_temperature, "its temperature, exponent or certainty differs from the card"),
        (leave_out("scaled"), "its probabilities differ from those of its logits"),
        (leave_out("powers"), "its probabilities differ from those of its logits"),
        (leave_out("energies"), "its energies differ from those of its logits"),
        (rotate_the_labels, "its labels differs from the card"),
    ],
)
def test_fault_in_the_outputs_of_one_file_is_found(
    calibrated: Run,
    sample: DataSet,
    name: str,
    change: Callable[[onnx.ModelProto], None],
    words: str,
) -> None:
    change_file(calibrated, name, change)
    with pytest.raises(TrainingError, match=f"{name}: {words}"):
        steps.verify_run(calibrated, sample)


def test_labels_of_other_classes_than_those_of_the_run_are_found(
    calibrated: Run, sample: DataSet
) -> None:
    for name in artifact.of_run(calibrated.folder).read_exported().files:
        change_file(calibrated, name, rotate_the_labels)
    change_card(
        artifact.of_run(calibrated.folder),
        lambda card: card.update(labels=[*card["labels"][1:], card["labels"][0]]),
    )
    with pytest.raises(TrainingError, match="its labels are not the classes of the run"):
        steps.verify_run(calibrated, sample)
