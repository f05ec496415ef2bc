"""How large the models are that the settings name."""

from pathlib import Path

from service.inference.selection import select, selected_bytes
from service.settings import Settings
from tests.service.models import add_variant, write_model


def test_size_is_that_of_the_largest_file_of_each_version(tmp_path: Path) -> None:
    write_model(tmp_path, "pets", 1)
    highest = write_model(tmp_path, "pets", 2)
    other = write_model(tmp_path, "other", 1)
    larger = add_variant(highest, "int8").stat().st_size + 1000
    with (highest / "model.int8.onnx").open("r+b") as file:
        file.truncate(larger)
    smaller = (other / "model.onnx").stat().st_size
    assert selected_bytes(Settings(models=tmp_path, model="pets")) == larger + smaller
    assert selected_bytes(Settings(models=tmp_path, model="pets", served=())) == larger


def test_model_without_readable_versions_is_asked_for_all_the_same() -> None:
    """Loading it says what is wrong."""
    settings = Settings(model="pets", served=("*", "birds@all", "cats@3"))
    wanted = select(settings, {"pets": [1, 2], "birds": [], "cats": []})
    assert wanted == {"pets": [2], "birds": [None], "cats": [None, 3]}


def test_what_is_not_there_has_no_size(tmp_path: Path) -> None:
    assert selected_bytes(Settings(models=tmp_path / "nothing")) == 0
    write_model(tmp_path, "pets", 1)
    assert selected_bytes(Settings(models=tmp_path, model="other", served=("another@7",))) == 0
