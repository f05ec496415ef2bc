"""The typed model card."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.errors import ModelRefusedError
from service.inference.repository import read_version
from tests.service.models import add_variant, write_model

SHIPPED = Path(__file__).parents[3] / "models"


@pytest.mark.parametrize("card", [b"", b"[]", b"{}", b'{"name": 3}', b"\xff", b"[" * 100_000])
def test_bad_card_is_refused_in_one_line(tmp_path: Path, card: bytes) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(card)
    with pytest.raises(ModelRefusedError, match=r"card\.json is not a model card: ") as refused:
        read_version(tmp_path)
    assert len(str(refused.value).splitlines()) == 1


def test_missing_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefusedError, match=r"card\.json cannot be read: No such file"):
        read_version(tmp_path)


def test_card_cannot_be_changed(tmp_path: Path) -> None:
    card = read_version(write_model(tmp_path)).card
    with pytest.raises(ValidationError, match="frozen"):
        card.version = 2  # type: ignore[misc]


def test_file_without_a_threshold_has_that_of_the_card(tmp_path: Path) -> None:
    folder = write_model(tmp_path, energy_threshold=0.5)
    add_variant(folder, "int8", energy_threshold=0.7)
    card = read_version(folder).card
    assert card.threshold("model.onnx") == 0.5
    assert card.threshold("model.int8.onnx") == 0.7


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*/*/card.json")), ids=str)
def test_every_shipped_card_has_figures_of_every_file(path: Path) -> None:
    card = read_version(path.parent).card
    assert card.files
    for file in card.files:
        assert card.accuracies(file)["test"] > 0.5
