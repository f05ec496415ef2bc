"""Published and shipped models follow the rules of the model repository of Triton.

The rules are those of Triton's user guide, docs/user_guide/model_repository.md and
model_configuration.md in triton-inference-server/server (read in November 2026):

- Each folder is a model; files beside them are ignored, so README.md may lie there. Folders of
  versions, `<model>/<version>/`, whose names are no number, or start with 0, are ignored; the
  numerically greatest is served unless a version policy says otherwise.
- An ONNX model is the file `model.onnx` in the folder of its version. Nothing else there is read
  unless a configuration names it, so the card and the variants may lie beside it.
- `config.pbtxt` is optional for ONNX: Triton completes inputs, outputs and batching from the file,
  when every input and output has a dynamic first dimension. So none is shipped. The largest batch
  is then 4, unless `--backend-config=default-max-batch-size=` says more, and `energy` gets the
  shape (batch, 1), because no shape may be empty behind the batch.
- Beside the versions there may be a configuration, files of labels, and `configs/`.

`make test-clients` shows the folder to the core of Triton itself.
"""

from pathlib import Path

import onnx
import pytest

from service.errors import ModelNotFoundError
from service.inference import repository as served
from tests.service.models import write_model
from training.publish import repository
from training.publish.artifact import Artifact

SHIPPED = Path(__file__).parents[3] / "models"
# The types of model_configuration.md, section "Datatypes", that the files use.
TYPES = {onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT}


def faults(models: Path) -> list[str]:
    """What Triton would refuse or ignore in a model repository."""
    files = [path.name for path in models.iterdir() if not path.is_dir()]
    found = [f"{name}: ignored" for name in files if name != "README.md"]
    for model in (path for path in models.iterdir() if path.is_dir()):
        versions = [path for path in model.iterdir() if path.is_dir() and path.name != "configs"]
        if not versions:
            found.append(f"{model.name}: no version")
        for version in versions:
            where = f"{model.name}/{version.name}"
            if not version.name.isdecimal() or version.name.startswith("0"):
                found.append(f"{where}: ignored")
            elif not (version / "model.onnx").is_file():
                found.append(f"{where}: no model.onnx")
            else:
                found += [f"{where}: {fault}" for fault in incomplete(version / "model.onnx")]
    return found


def incomplete(path: Path) -> list[str]:
    """What keeps Triton from completing the configuration of a file."""
    graph = onnx.load(path).graph
    found = []
    for value in (*graph.input, *graph.output):
        tensor = value.type.tensor_type
        if not (tensor.shape.dim and tensor.shape.dim[0].dim_param):
            found.append(f"{value.name} has no dynamic first dimension")
        if tensor.elem_type not in TYPES:
            found.append(f"{value.name} has a type that Triton does not know")
    return found


def test_shipped_models_follow_the_rules() -> None:
    assert faults(SHIPPED) == []


def test_published_models_follow_the_rules(finished: Artifact, tmp_path: Path) -> None:
    models = tmp_path / "models"
    repository.publish(finished, models)
    assert faults(models) == []


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ("model.onnx", "model.onnx: ignored"),
        ("tiny/01/model.onnx", "tiny/01: ignored"),
        ("tiny/first/model.onnx", "tiny/first: ignored"),
        ("tiny/2/tiny.onnx", "tiny/2: no model.onnx"),
        ("empty/config.pbtxt", "empty: no version"),
    ],
)
def test_rules_find_what_is_wrong(tmp_path: Path, wrong: str, fault: str) -> None:
    write_model(tmp_path)
    (tmp_path / wrong).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / wrong).touch()
    assert faults(tmp_path) == [fault]


def test_fixed_batch_cannot_be_completed(tmp_path: Path) -> None:
    path = write_model(tmp_path) / "model.onnx"
    proto = onnx.load(path)
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(proto, path)
    name = proto.graph.output[0].name
    assert faults(tmp_path) == [f"tiny/1: {name} has no dynamic first dimension"]


def test_service_ignores_what_triton_allows_beside_the_versions(tmp_path: Path) -> None:
    version = write_model(tmp_path)
    beside = ("README.md", "tiny/config.pbtxt", "tiny/labels.txt", "tiny/configs/h100.pbtxt")
    for name in beside:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert faults(tmp_path) == []
    assert served.versions(tmp_path) == [version]
    assert served.load(tmp_path, "tiny").card.version == 1


def test_readme_beside_the_models_is_no_model(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "README.md").touch()
    with pytest.raises(ModelNotFoundError):
        served.load(tmp_path, "README.md")
