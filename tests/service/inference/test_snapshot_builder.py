"""Snapshots of real, tiny models: built from the repository, changed, and handed over."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from service.errors import ModelNotFoundError, NotReadyError, NotServedError, StartupError
from service.inference.engine import CUDA
from service.inference.memory_file import SealedFile
from service.inference.served_model import LOAD_ALL, Change
from service.inference.snapshot import Handover, Snapshot
from service.inference.snapshot_builder import build_snapshot, check_name
from service.settings import Settings
from tests.service.conftest import colour
from tests.service.models import LABELS, replace_model, write_model


def settings_of(models: Path, **settings: object) -> Settings:
    return Settings.model_validate({"models": models, "provider": "cpu", **settings})


def load(*names: str) -> Change:
    return Change(load=frozenset(names))


def unload(*names: str) -> Change:
    return Change(load=frozenset(), unload=frozenset(names))


def versions(snapshot: Snapshot) -> dict[str, list[int]]:
    return {name: [m.version for m in models] for name, models in snapshot.models.items()}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Models `pets` in versions 2 and 10, and `birds` in version 1."""
    for name, version in (("pets", 2), ("pets", 10), ("birds", 1)):
        write_model(tmp_path, name, version)
    return tmp_path


@pytest.mark.parametrize(
    ("served", "version", "expected"),
    [
        ("*", "latest", {"pets": [10], "birds": [1]}),
        ("*", 2, {"pets": [2], "birds": [1]}),
        ("", "latest", {"pets": [10]}),
        ("birds", 2, {"pets": [2], "birds": [1]}),
        ("pets@all", 2, {"pets": [2, 10]}),
        ("pets@2,pets@10", "latest", {"pets": [10, 2]}),
        ("birds@1,birds", "latest", {"pets": [10], "birds": [1]}),
    ],
)
def test_settings_say_what_is_served(
    models: Path, served: str, version: object, expected: object
) -> None:
    settings = settings_of(models, model="pets", model_version=version, served=served)
    assert versions(build_snapshot(settings, LOAD_ALL)) == expected


def test_first_version_answers_without_a_version(models: Path) -> None:
    settings = settings_of(models, model="pets", model_version=2, served="pets@all")
    snapshot = build_snapshot(settings, LOAD_ALL)
    assert snapshot.find().version == 2
    assert snapshot.find("pets", "10").version == 10
    with pytest.raises(NotServedError, match="no version '3' of 'pets' here; '2' and '10' are"):
        snapshot.find("pets", "3")
    with pytest.raises(NotServedError, match="no model 'cats' here; this service has 'pets'"):
        snapshot.find("cats")


def test_single_model_of_a_repository_is_the_default(tmp_path: Path) -> None:
    write_model(tmp_path, "pets")
    assert build_snapshot(settings_of(tmp_path), LOAD_ALL).default == "pets"
    with pytest.raises(ModelNotFoundError, match="no model 'birds'"):
        build_snapshot(settings_of(tmp_path, model="birds"), LOAD_ALL)


def test_folder_is_the_identity(models: Path) -> None:
    shutil.copytree(models / "pets" / "2", models / "pets" / "11")
    (models / "pets").rename(models / "cats")
    snapshot = build_snapshot(settings_of(models, model="cats"), LOAD_ALL)
    assert versions(snapshot) == {"cats": [11], "birds": [1]}
    assert snapshot.find().served.version == "11"


def truncate(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:100])


def lengthen(model: Path) -> None:
    model.write_bytes(model.read_bytes() + b"\0")


def other_model() -> bytes:
    """A model that serves something else."""
    node = helper.make_node("Identity", ["x"], ["y"])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([node], "other", [x], [y])
    opset = [helper.make_opsetid("", 17)]
    data: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return data


def name_more_labels(model: Path) -> None:
    """Names four classes in the file and in its card, where three are computed."""
    shutil.rmtree(model.parent)
    write_model(model.parents[2], labels=[*LABELS, "white"])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "has not the sha256 that its card states"),
        (lengthen, "has not the sha256 that its card states"),
        (lambda model: replace_model(model, other_model()), "The model must take `image`"),
        (name_more_labels, "computes 3 classes and names 4"),
    ],
    ids=["truncated", "tampered", "other inputs", "more labels"],
)
def test_default_model_that_cannot_be_served_is_refused_in_one_line(
    tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    """A service ends with this line."""
    damage(write_model(tmp_path) / "model.onnx")
    with pytest.raises(StartupError) as caught:
        build_snapshot(settings_of(tmp_path, model="tiny"), LOAD_ALL)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_model_that_cannot_be_loaded_leaves_the_others(models: Path) -> None:
    (models / "birds" / "1" / "model.onnx").write_bytes(b"damaged")
    snapshot = build_snapshot(settings_of(models, model="pets"), LOAD_ALL)
    assert versions(snapshot) == {"pets": [10]}
    assert "sha256" in snapshot.failures["birds"]
    with pytest.raises(NotReadyError, match=r"'birds' could not be loaded\. .*sha256"):
        snapshot.find("birds")


def test_model_that_cannot_be_loaded_keeps_the_version_of_before(models: Path) -> None:
    settings = settings_of(models, model="pets")
    before = build_snapshot(settings, LOAD_ALL)
    (write_model(models, "pets", 11) / "card.json").write_text("{}")
    write_model(models, "birds", 2)
    after = build_snapshot(settings, LOAD_ALL, before)
    assert versions(after) == {"pets": [10], "birds": [2]}
    assert after.find("pets") is before.find("pets")
    assert list(after.failures) == ["pets"]
    # A change of another model does not try again; the failure is still known.
    assert list(build_snapshot(settings, load("birds"), after).failures) == ["pets"]


def test_load_changes_the_named_model_alone_and_takes_over_what_is_the_same(models: Path) -> None:
    settings = settings_of(models, model="pets")
    before = build_snapshot(settings, LOAD_ALL)
    write_model(models, "pets", 11)
    write_model(models, "birds", 2)
    after = build_snapshot(settings, load("birds"), before)
    assert versions(after) == {"pets": [10], "birds": [2]}
    again = build_snapshot(settings, LOAD_ALL, after)
    assert versions(again) == {"pets": [11], "birds": [2]}
    assert again.find("birds") is after.find("birds")


def test_model_whose_folder_is_gone_is_served_until_all_are_read_again(models: Path) -> None:
    settings = settings_of(models, model="pets")
    before = build_snapshot(settings, LOAD_ALL)
    shutil.rmtree(models / "birds")
    after = build_snapshot(settings, load("pets"), before)
    assert after.find("birds") is before.find("birds")
    named = build_snapshot(settings, load("birds"), after)
    assert named.find("birds") is before.find("birds")
    assert "no model 'birds'" in named.failures["birds"]
    assert versions(build_snapshot(settings, LOAD_ALL, named)) == {"pets": [10]}


@pytest.mark.parametrize("is_there", [True, False])
def test_repository_that_has_become_empty_changes_nothing(models: Path, is_there: bool) -> None:
    """Such as the mount point of a volume that is not mounted at present."""
    settings = settings_of(models, model="pets")
    before = build_snapshot(settings, LOAD_ALL)
    shutil.rmtree(models)
    if is_there:
        models.mkdir()
    with pytest.raises(ModelNotFoundError, match="There are no models in"):
        build_snapshot(settings, LOAD_ALL, before)
    assert versions(build_snapshot(settings, unload("birds"), before)) == {"pets": [10]}
    named = build_snapshot(settings, load("birds"), before)
    assert versions(named) == {"pets": [10], "birds": [1]}
    assert "There is no model 'birds'" in named.failures["birds"]


def test_model_whose_folder_cannot_be_read_leaves_the_others(models: Path) -> None:
    settings = settings_of(models, model="pets", served="*,birds@all")
    before = build_snapshot(settings, LOAD_ALL)
    shutil.rmtree(models / "birds")
    (models / "birds").symlink_to("birds")
    (models / "lost+found").symlink_to("lost+found")  # of a file system, and not to be read
    write_model(models, "pets", 11)
    after = build_snapshot(settings, LOAD_ALL, before)
    assert versions(after) == {"pets": [11], "birds": [1]}
    assert list(after.failures) == ["birds"]
    assert "birds cannot be read: Too many levels of symbolic links" in after.failures["birds"]
    assert versions(build_snapshot(settings, LOAD_ALL)) == {"pets": [11]}


def test_changed_card_is_loaded_again(models: Path) -> None:
    settings = settings_of(models, model="birds")
    before = build_snapshot(settings, LOAD_ALL)
    path = models / "birds" / "1" / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"note": "new"}))
    after = build_snapshot(settings, LOAD_ALL, before)
    assert after.find() is not before.find()
    assert json.loads(after.find().card.read())["note"] == "new"


def test_damaged_file_of_a_served_version_is_noticed(models: Path) -> None:
    settings = settings_of(models, model="birds")
    before = build_snapshot(settings, LOAD_ALL)
    (models / "birds" / "1" / "model.onnx").write_bytes(b"damaged")
    after = build_snapshot(settings, LOAD_ALL, before)
    assert after.find() is before.find()
    assert "sha256" in after.failures["birds"]


def test_unloaded_model_stays_so_until_it_is_loaded_by_name(models: Path) -> None:
    settings = settings_of(models, model="pets")
    snapshot = build_snapshot(settings, LOAD_ALL)
    for change in (unload("birds"), LOAD_ALL, load("pets")):
        snapshot = build_snapshot(settings, change, snapshot)
        assert versions(snapshot) == {"pets": [10]}
        with pytest.raises(NotReadyError, match="'birds' was unloaded"):
            snapshot.find("birds")
    snapshot = build_snapshot(settings, load("birds"), snapshot)
    assert versions(snapshot) == {"pets": [10], "birds": [1]}


def test_other_labels_and_input_sizes_are_noted(models: Path) -> None:
    settings = settings_of(models, model="birds")
    before = build_snapshot(settings, LOAD_ALL)
    write_model(models, "birds", 2, size=(4, 6), labels=["a", "b", "c"])
    after = build_snapshot(settings, LOAD_ALL, before)
    assert dict(after.notes) == {
        "birds": "Version 2 has other labels than 1. "
        "It takes pictures of 6 x 4 pixels, not of 8 x 8 as before."
    }
    assert not build_snapshot(settings, LOAD_ALL, after).notes


def test_links_of_a_kubernetes_volume_are_followed_and_its_own_folders_skipped(
    models: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mount = tmp_path_factory.mktemp("mount")
    models.rename(mount / "..2026_11_27")
    (mount / "..data").symlink_to("..2026_11_27")
    for name in ("pets", "birds"):
        (mount / name).symlink_to(f"..data/{name}")
    snapshot = build_snapshot(settings_of(mount, model="pets"), LOAD_ALL)
    assert versions(snapshot) == {"pets": [10], "birds": [1]}


def handed_over(snapshot: Snapshot) -> Handover:
    """The snapshot as another process receives it."""
    files = [SealedFile(os.dup(file.fileno())) for file in snapshot.files]
    return Handover(snapshot.manifest, files)


def test_handover_is_built_without_the_repository(models: Path) -> None:
    settings = settings_of(models, model="pets", served="*,pets@all")
    first = build_snapshot(settings, LOAD_ALL)
    shutil.rmtree(models)
    second = build_snapshot(settings, handed_over(first))
    assert second.manifest == first.manifest
    answers = [it.find("pets", "2").classifier.classify([colour("blue")]) for it in (first, second)]
    assert [answer[0].label for answer in answers if not isinstance(answer[0], Exception)] == [
        "blue",
        "blue",
    ]
    third = build_snapshot(settings, handed_over(second), second)
    assert all(a is b for a, b in zip(second.loaded, third.loaded, strict=True))


def test_handover_that_cannot_be_built_on_the_same_provider_is_refused(models: Path) -> None:
    settings = settings_of(models, model="pets")
    handover = handed_over(build_snapshot(settings, LOAD_ALL))
    first, *others = handover.manifest.models
    on_cuda = (first._replace(provider="CUDAExecutionProvider"), *others)
    other = Handover(handover.manifest._replace(models=on_cuda), handover.files)
    with pytest.raises(StartupError, match="on CUDAExecutionProvider, and this one on CPU"):
        build_snapshot(settings, other)


def test_model_on_the_gpu_is_not_replaced_by_one_on_the_cpu(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(models, model="pets")
    before = build_snapshot(settings, LOAD_ALL)
    monkeypatch.setattr(before.find().classifier.engine, "provider", CUDA)
    write_model(models, "pets", 11)
    after = build_snapshot(settings, LOAD_ALL, before)
    assert versions(after) == {"pets": [10], "birds": [1]}
    assert "CPU alone" in after.failures["pets"]


def test_name_that_is_not_served_is_refused(models: Path) -> None:
    settings = settings_of(models, model="pets", served="")
    snapshot = build_snapshot(settings, LOAD_ALL)
    check_name(settings, snapshot, "pets")
    with pytest.raises(NotServedError, match="CIFAR10_SERVED does not name it"):
        check_name(settings, snapshot, "birds")
    with pytest.raises(NotServedError, match="there is none"):
        check_name(settings, snapshot, "cats")
