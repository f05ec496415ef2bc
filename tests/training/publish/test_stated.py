import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx.helper import set_model_props

from tests.shipped import MODELS
from tests.training.conftest import change_card
from training.errors import TrainingError
from training.publish import stated
from training.publish.artifact import Artifact, sha256

FILES = ("model.onnx", "model.int8.onnx", "model.fp16.onnx")
Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "version", sorted((MODELS / "cifar10").glob("[1-9]*")), ids=lambda it: it.name
)
def test_shipped_files_are_what_their_card_says(version: Path) -> None:
    found = Artifact(version)
    stated.check(found, found.read_exported())


def rotate(card: dict[str, Any]) -> None:
    first, *others = card["labels"]
    card["labels"] = [*others, first]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda card: card.update(name="other"), "name"),
        (lambda card: card.update(version=7), "version"),
        (rotate, "labels"),
        (lambda card: card["resize"].update(mode="pad"), "resize"),
        (lambda card: card["input"].update(width=31), "input"),
        (lambda card: card.update(closer_look={"kind": "square"}), "closer_look"),
    ],
)
def test_card_of_other_files_is_refused(finished: Artifact, change: Change, what: str) -> None:
    change_card(finished, change)
    with pytest.raises(TrainingError) as raised:
        stated.check(finished, finished.read_exported())
    assert str(raised.value).splitlines() == [
        f"{finished.folder / name}: its {what} differs from the card" for name in FILES
    ]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"temperature": 7.0}, "temperature, exponent or certainty"),
        ({"exponent": 2.5}, "temperature, exponent or certainty"),
        ({"certainty": 0.5}, "temperature, exponent or certainty"),
        ({"temperature": None}, "temperature, exponent or certainty"),
        ({"bytes": 1}, "bytes"),
        ({"energy_threshold": 1.5}, "energy_threshold"),
        ({"second_view": {"below": 0.5, "temperature": 1.0}}, "second_view"),
        ({"label_sets": {"0.9": [0.1] * 10}}, "label_sets"),
    ],
)
def test_wrong_value_of_one_file_is_found(
    finished: Artifact, name: str, values: dict[str, Any], what: str
) -> None:
    change_card(finished, lambda card: card["files"][name].update(values))
    with pytest.raises(TrainingError) as raised:
        stated.check(finished, finished.read_exported())
    assert str(raised.value) == f"{finished.folder / name}: its {what} differs from the card"


@pytest.mark.parametrize("name", FILES)
def test_wrong_precision_is_found(finished: Artifact, name: str) -> None:
    other = "float32" if name != "model.onnx" else "int8"
    change_card(finished, lambda card: card["files"][name].update(precision=other))
    with pytest.raises(TrainingError, match=f"{name}: its precision differs from the card"):
        stated.check(finished, finished.read_exported())


@pytest.mark.parametrize("name", FILES)
def test_file_with_other_labels_than_the_card_is_found(finished: Artifact, name: str) -> None:
    path = finished.folder / name
    proto = onnx.load(path)
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    first, *others = json.loads(properties["labels"])
    set_model_props(proto, properties | {"labels": json.dumps([*others, first])})
    onnx.save(proto, path)
    change_card(finished, lambda card: card["files"][name].update(
        sha256=sha256(path), bytes=path.stat().st_size
    ))  # fmt: skip
    with pytest.raises(TrainingError, match=f"{name}: its labels differs from the card"):
        stated.check(finished, finished.read_exported())
