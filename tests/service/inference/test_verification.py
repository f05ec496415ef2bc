"""Whether the files of a model agree with its card."""

import json
from pathlib import Path

import pytest

from service.errors import ModelRefusedError
from service.inference import repository, verification
from service.inference.engine_provider import open_engine
from tests.service.inference.test_repository import edit_card, read
from tests.service.models import add_variant, write_model


def test_changed_model_file_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelRefusedError, match=r"model\.onnx .*sha256"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["model.onnx", "card.json"])
def test_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (write_model(tmp_path) / name).unlink()
    with pytest.raises(ModelRefusedError, match=f"{name} cannot be read"):
        read(tmp_path)


def test_card_that_does_not_list_the_file_is_refused(tmp_path: Path) -> None:
    edit_card(write_model(tmp_path), files={})
    with pytest.raises(ModelRefusedError, match=r"does not list model\.onnx"):
        read(tmp_path, "auto")


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
    metadata = open_engine(lambda _: read(tmp_path), provider="cpu").metadata
    with pytest.raises(ModelRefusedError, match=f"disagree on '{key}'"):
        verification.check_metadata(stored, "model.onnx", metadata)


@pytest.mark.parametrize("where", ["card", "file"])
def test_second_view_that_the_card_or_the_file_alone_has_is_refused(
    tmp_path: Path, where: str
) -> None:
    rule = {"kind": "mirror", "below": 0.8, "temperature": 1.0}
    folder = write_model(tmp_path, second_view=rule)
    stored = repository.read_version(folder)
    metadata = open_engine(lambda _: read(tmp_path), provider="cpu").metadata
    verification.check_metadata(stored, "model.onnx", metadata)
    if where == "card":
        del metadata["second_view"]
    else:
        files = json.loads((folder / "card.json").read_text())["files"]
        del files["model.onnx"]["second_view"]
        edit_card(folder, files=files)
        stored = repository.read_version(folder)
    with pytest.raises(ModelRefusedError, match="disagree on 'second_view'"):
        verification.check_metadata(stored, "model.onnx", metadata)


@pytest.mark.parametrize("where", ["card", "file"])
def test_closer_look_that_the_card_or_the_file_alone_has_is_refused(
    tmp_path: Path, where: str
) -> None:
    folder = write_model(tmp_path, closer_look={"kind": "square", "times": 4, "share": 0.8})
    stored = repository.read_version(folder)
    metadata = open_engine(lambda _: read(tmp_path), provider="cpu").metadata
    verification.check_metadata(stored, "model.onnx", metadata)
    if where == "card":
        del metadata["closer_look"]
    else:
        edit_card(folder, closer_look=None)
        stored = repository.read_version(folder)
    with pytest.raises(ModelRefusedError, match="disagree on 'closer_look'"):
        verification.check_metadata(stored, "model.onnx", metadata)


@pytest.mark.parametrize("metadata", [{}, {"name": "tiny", "version": "one"}])
def test_missing_or_unreadable_metadata_is_refused(
    tmp_path: Path, metadata: dict[str, str]
) -> None:
    stored = repository.read_version(write_model(tmp_path))
    with pytest.raises(ModelRefusedError, match="no readable metadata property"):
        verification.check_metadata(stored, "model.onnx", metadata)


def test_changed_variant_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    with add_variant(folder, "int8").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelRefusedError, match=r"model\.int8\.onnx .*sha256"):
        read(tmp_path, "auto")
    assert read(tmp_path, "model.onnx") == (folder / "model.onnx").read_bytes()


def test_card_that_disagrees_with_its_variant_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    add_variant(folder, "int8")
    files = json.loads((folder / "card.json").read_text())["files"]
    files["model.int8.onnx"]["energy_threshold"] = 0.5
    edit_card(folder, files=files)
    metadata = open_engine(lambda _: read(tmp_path, "auto"), provider="cpu").metadata
    stored = repository.read_version(folder)
    with pytest.raises(ModelRefusedError, match=r"int8\.onnx .*'energy_threshold'"):
        verification.check_metadata(stored, "model.int8.onnx", metadata)
