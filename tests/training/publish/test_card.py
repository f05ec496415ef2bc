import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from training.publish.card import Card

MODELS = Path(__file__).parents[3] / "models"
SHIPPED = sorted(MODELS.glob("*/*/card.json"))


def test_models_ship() -> None:
    assert len(SHIPPED) >= 2


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_shipped_card_is_read_and_written_without_a_difference(path: Path) -> None:
    text = path.read_text()
    found = Card.model_validate_json(text)
    assert found.to_json() == json.loads(text)
    assert json.dumps(found.to_json(), indent=1) + "\n" == text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("metrics", "model.onnx", "test", "accuracy"), "high"),
        (("metrics", "model.onnx", "test", "accurracy"), 0.9),
        (("training", "config", "network", "kind"), "Perceptron"),
        (("training", "config", "optimiser"), "adam"),
        (("resize", "mode"), "squeeze"),
        (("files", "model.onnx", "precision"), "float8"),
        (("latency", "files", "model.onnx", "one"), {"median": 1, "min": 1, "max": 1}),
    ],
)
def test_wrong_value_or_unknown_key_is_refused(path: tuple[str, ...], value: object) -> None:
    values: dict[str, Any] = json.loads(SHIPPED[0].read_text())
    *parents, last = path
    place = values
    for key in parents:
        place = place[key]
    place[last] = value
    with pytest.raises(ValidationError):
        Card.model_validate(values)
