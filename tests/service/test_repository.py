"""The models/ folder: the right version, verified."""

import json
from pathlib import Path

import pytest

from service import repository
from service.engine import open_engine
from service.errors import ModelNotFoundError, ModelRefusedError
from tests.service.models import write_model


def edit_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


def test_newest_version_is_served_by_number_and_not_by_name(tmp_path: Path) -> None:
    for version in (2, 10, 9):
        write_model(tmp_path, version=version)
    (tmp_path / "tiny" / "11.partial").mkdir()
    (tmp_path / "tiny" / "012").mkdir()
    assert repository.load(tmp_path, "tiny").card.version == 10
    assert repository.load(tmp_path, "tiny", 9).card.version == 9


def test_missing_model_says_where_it_was_sought(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=str(tmp_path)):
        repository.load(tmp_path, "tiny")


def test_missing_version_says_which_there_are(tmp_path: Path) -> None:
    for version in (1, 2):
        write_model(tmp_path, version=version)
    with pytest.raises(ModelNotFoundError, match="no version 7; these are there: 1, 2"):
        repository.load(tmp_path, "tiny", 7)


def test_changed_model_file_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelRefusedError, match=r"model\.onnx .*sha256"):
        repository.load(tmp_path, "tiny")


@pytest.mark.parametrize("name", ["model.onnx", "card.json"])
def test_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (write_model(tmp_path) / name).unlink()
    with pytest.raises(ModelRefusedError, match=f"{name} cannot be read"):
        repository.load(tmp_path, "tiny")


@pytest.mark.parametrize("card", ["", "[]", "{}", '{"name": 3}'])
def test_unreadable_card_is_refused(tmp_path: Path, card: str) -> None:
    (write_model(tmp_path) / "card.json").write_text(card)
    with pytest.raises(ModelRefusedError, match="is not a model card"):
        repository.load(tmp_path, "tiny")


def test_card_that_does_not_list_the_file_is_refused(tmp_path: Path) -> None:
    edit_card(write_model(tmp_path), files={})
    with pytest.raises(ModelRefusedError, match=r"does not list model\.onnx"):
        repository.load(tmp_path, "tiny")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "other"),
        ("version", 2),
        ("labels", ["blue", "green", "red"]),
        ("resize", {"mode": "crop", "filter": "bilinear"}),
        ("energy_threshold", 0.6),
    ],
)
def test_card_that_disagrees_with_its_file_is_refused(
    tmp_path: Path, key: str, value: object
) -> None:
    edit_card(write_model(tmp_path), **{key: value})
    stored = repository.load(tmp_path, "tiny")
    metadata = open_engine(stored.data, provider="cpu").metadata
    with pytest.raises(ModelRefusedError, match=f"disagree on '{key}'"):
        repository.check_metadata(stored, metadata)


@pytest.mark.parametrize("metadata", [{}, {"name": "tiny", "version": "one"}])
def test_missing_or_unreadable_metadata_is_refused(
    tmp_path: Path, metadata: dict[str, str]
) -> None:
    write_model(tmp_path)
    with pytest.raises(ModelRefusedError, match="no readable metadata property"):
        repository.check_metadata(repository.load(tmp_path, "tiny"), metadata)
