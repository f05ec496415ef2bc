"""Which models the settings name, and how large they are."""

from pathlib import Path

from service.inference.selection import default_model, list_models, select, selected_bytes
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


def test_version_folder_alone_has_the_name_of_the_setting_or_its_own(tmp_path: Path) -> None:
    folder = write_model(tmp_path, version=3).rename(tmp_path / "mounted")
    for settings, name in ((Settings(models=folder, model="pets"), "pets"),
                           (Settings(models=folder), "tiny")):  # fmt: skip
        found = list_models(settings)
        assert found == {name: [3]}
        assert default_model(settings, found) == name
        assert select(settings, found) == {name: [3]}
        assert selected_bytes(settings) == (folder / "model.onnx").stat().st_size
