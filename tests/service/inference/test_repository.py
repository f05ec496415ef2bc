"""The models/ folder: versions, files, and their agreement with the card."""

import errno
import json
import os
from pathlib import Path

import pytest

from service.errors import ModelNotFoundError, ModelRefusedError
from service.inference import repository, verification
from tests.service.models import add_variant, write_model


def edit_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


def read(models: Path, variant: str = "model.onnx") -> bytes:
    stored = repository.load(models, "tiny")
    return verification.read(stored, repository.choose(stored, variant, "int8"))


def test_newest_version_is_served_by_number_and_not_by_name(tmp_path: Path) -> None:
    for version in (2, 10, 9):
        write_model(tmp_path, version=version)
    (tmp_path / "tiny" / "11.partial").mkdir()
    (tmp_path / "tiny" / "012").mkdir()
    assert repository.load(tmp_path, "tiny").card.version == 10
    assert repository.load(tmp_path, "tiny", 9).card.version == 9


def test_versions_are_listed_by_number_without_other_entries(tmp_path: Path) -> None:
    folders = [write_model(tmp_path, version=version) for version in (2, 10)]
    other = write_model(tmp_path, "other")
    for name in ("11.partial", "012", "0"):
        (tmp_path / "tiny" / name).mkdir()
    (tmp_path / "tiny" / "3").write_text("a file")
    assert repository.versions(tmp_path) == [other, *folders]


@pytest.mark.parametrize("metrics", [None, "good", {"model.onnx": {"test": {}}}])
def test_files_are_listed_with_or_without_figures(tmp_path: Path, metrics: object) -> None:
    folder = write_model(tmp_path)
    add_variant(folder, "int8")
    stored = repository.read_version(folder)
    assert list(stored.card.files) == ["model.onnx", "model.int8.onnx"]
    assert repository.size(stored, "model.int8.onnx") == len(read(tmp_path, "model.int8.onnx"))
    assert stored.card.accuracies("model.int8.onnx") == {"test": 0.9}
    edit_card(folder, metrics=metrics)
    card = repository.read_version(folder).card
    assert [card.accuracies(file) for file in card.files] == [{}, {}]


def test_missing_model_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=str(tmp_path)):
        repository.load(tmp_path, "tiny")


def test_missing_version_names_those_that_exist(tmp_path: Path) -> None:
    for version in (1, 2):
        write_model(tmp_path, version=version)
    with pytest.raises(ModelNotFoundError, match="no version 7; these are there: 1, 2"):
        repository.load(tmp_path, "tiny", 7)


def test_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_folder: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    write_model(tmp_path)
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ModelRefusedError, match="tiny cannot be read: Permission denied"):
        repository.load(tmp_path, "tiny")


@pytest.mark.parametrize(("precision", "variant"), [("int8", "model.int8.onnx"),
                                                    ("float16", "model.fp16.onnx")])  # fmt: skip
def test_auto_takes_the_file_of_the_preferred_precision(
    tmp_path: Path, precision: str, variant: str
) -> None:
    folder = write_model(tmp_path)
    add_variant(folder, "int8")
    add_variant(folder, "float16")
    stored = repository.load(tmp_path, "tiny")
    assert repository.choose(stored, "auto", precision) == variant
    assert repository.choose(stored, "auto", "float32") == "model.onnx"


@pytest.mark.parametrize(
    ("accuracy", "split", "chosen"),
    [
        (0.895, "test", True),
        (0.8949, "test", False),
        (0.91, "test", True),
        (0.895, "validation", True),
        (0.8, "validation", False),
        (float("nan"), "test", False),
        (None, "test", False),
    ],
)
def test_auto_takes_only_files_measured_within_the_accuracy_limit(
    tmp_path: Path, accuracy: float | None, split: str, chosen: bool
) -> None:
    add_variant(write_model(tmp_path), "int8", accuracy=accuracy, split=split)
    expected = "model.int8.onnx" if chosen else "model.onnx"
    stored = repository.load(tmp_path, "tiny")
    assert repository.choose(stored, "auto", "int8") == expected
    assert repository.choose(stored, "model.int8.onnx", "int8") == "model.int8.onnx"


def test_test_split_counts_before_validation(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    add_variant(folder, "int8", accuracy=0.8)
    metrics = json.loads((folder / "card.json").read_text())["metrics"]
    metrics["model.int8.onnx"]["validation"] = {"accuracy": 0.9}
    edit_card(folder, metrics=metrics)
    assert repository.choose(repository.load(tmp_path, "tiny"), "auto", "int8") == "model.onnx"


@pytest.mark.parametrize("metrics", [None, [], "good", {"model.onnx": 0.9}, {"model.onnx": {}}])
def test_unknown_shapes_of_figures_do_not_prevent_serving(tmp_path: Path, metrics: object) -> None:
    folder = write_model(tmp_path)
    add_variant(folder, "int8")
    edit_card(folder, metrics=metrics)
    assert read(tmp_path, "auto") == (folder / "model.onnx").read_bytes()


@pytest.mark.parametrize("precision", ["int8", "float16", "float32"])
def test_file_that_is_there_alone_is_chosen_and_listed(tmp_path: Path, precision: str) -> None:
    folder = write_model(tmp_path)
    add_variant(folder, "int8", accuracy=None)
    add_variant(folder, "float16")
    stored = repository.load(tmp_path, "tiny")
    assert repository.files(stored) == ["model.onnx", "model.int8.onnx", "model.fp16.onnx"]
    (folder / "model.fp16.onnx").unlink()
    # Another one is missed while there are two: one may be on its way.
    assert repository.files(stored) == ["model.onnx", "model.int8.onnx", "model.fp16.onnx"]
    (folder / "model.onnx").unlink()
    assert repository.files(stored) == ["model.int8.onnx"]
    assert repository.choose(stored, "auto", precision) == "model.int8.onnx"


def test_unknown_file_names_those_that_exist(tmp_path: Path) -> None:
    add_variant(write_model(tmp_path), "int8")
    known = r"no 'model\.fp16\.onnx'; these are there: model\.onnx, model\.int8\.onnx"
    with pytest.raises(ModelNotFoundError, match=known):
        read(tmp_path, "model.fp16.onnx")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder that holds the files of version 3 of `tiny`, as KServe mounts a model."""
    return write_model(tmp_path / "elsewhere", version=3).rename(tmp_path / "mounted")


def test_folder_with_a_card_is_a_repository_of_that_version(bare: Path) -> None:
    assert repository.available(bare) == {"tiny": [3]}
    assert repository.versions(bare) == [bare]
    assert repository.folder_of(bare, "tiny", 3) == bare
    stored = repository.load(bare, "tiny")
    assert (stored.folder, stored.name, stored.version) == (bare, "tiny", 3)
    assert verification.read(stored, "model.onnx") == (bare / "model.onnx").read_bytes()


def test_one_version_alone_has_the_name_that_it_is_given(bare: Path) -> None:
    assert repository.available(bare, "pets") == {"pets": [3]}
    stored = repository.load(bare, "pets", 3)
    assert (stored.name, stored.version) == ("pets", 3)
    with pytest.raises(ModelNotFoundError, match="'pets' has no version 4; these are there: 3"):
        repository.load(bare, "pets", 4)


def test_one_version_alone_has_the_number_of_its_folder_if_that_is_one(bare: Path) -> None:
    numbered = bare.rename(bare.with_name("8"))
    assert repository.available(numbered, "pets") == {"pets": [8]}
    assert repository.load(numbered, "pets").version == 8


def test_card_of_the_one_version_is_refused_when_it_is_broken(bare: Path) -> None:
    (bare / "card.json").write_text("{}")
    with pytest.raises(ModelRefusedError, match="is not a model card"):
        repository.available(bare)


def test_folder_that_cannot_be_searched_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_folder: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "is_file", refuse)
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ModelRefusedError, match="cannot be read: Permission denied"):
        repository.available(tmp_path)
