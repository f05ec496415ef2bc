import os
import shutil
from pathlib import Path

import pytest

from tests.training.conftest import change_card, forget_all_after_export
from training.errors import TrainingError
from training.publish import repository
from training.publish.artifact import Artifact, sha256


def test_published_version_is_whole(tmp_path: Path, finished: Artifact) -> None:
    target = repository.publish(finished, tmp_path / "models")
    assert target == tmp_path / "models" / "small" / "1"
    assert sorted(path.name for path in target.iterdir()) == [
        "card.json", "model.fp16.onnx", "model.int8.onnx", "model.onnx",
    ]  # fmt: skip
    assert sorted(path.name for path in target.parent.iterdir()) == ["1", "published.json"]
    assert repository.versions(tmp_path / "models", "small") == [1]


def test_artifact_that_is_not_verified_is_not_published(tmp_path: Path, finished: Artifact) -> None:
    change_card(finished, forget_all_after_export)
    with pytest.raises(TrainingError, match="run `verify` first"):
        repository.publish(finished, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_artifact_that_is_not_evaluated_is_not_published(
    tmp_path: Path, finished: Artifact
) -> None:
    change_card(finished, forget_all_after_export)
    verified = finished.read_exported().model_copy(update={"parity": 1e-6, "agreement": {}})
    finished.write_card(verified)
    with pytest.raises(TrainingError, match="run `evaluate` first"):
        repository.publish(finished, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_taken_version_is_left_alone(tmp_path: Path, finished: Artifact) -> None:
    taken = tmp_path / "models" / "small" / "1"
    taken.mkdir(parents=True)
    (taken / "mine").touch()
    with pytest.raises(TrainingError, match="exists already; `export` again"):
        repository.publish(finished, tmp_path / "models")
    assert [path.name for path in taken.parent.rglob("*")] == ["1", "mine"]


def test_full_disk_leaves_nothing_behind(
    tmp_path: Path, finished: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.publish.repository.shutil.copy", full)
    with pytest.raises(OSError, match="No space left"):
        repository.publish(finished, tmp_path / "models")
    assert list((tmp_path / "models" / "small").iterdir()) == []


def test_version_that_was_published_and_deleted_is_not_used_again(
    tmp_path: Path, finished: Artifact
) -> None:
    models = tmp_path / "models"
    shutil.rmtree(repository.publish(finished, models))
    assert repository.versions(models, "small") == []
    assert repository.next_version(models, "small") == 2
    with pytest.raises(TrainingError, match="published already; `export` again to take the next"):
        repository.publish(finished, models)
    assert not (models / "small" / "1").exists()


def test_version_that_was_copied_there_counts(tmp_path: Path, finished: Artifact) -> None:
    first = repository.publish(finished, tmp_path)
    shutil.copytree(first, tmp_path / "small" / "7")
    assert repository.next_version(tmp_path, "small") == 8


def test_record_has_the_digest_of_every_file(tmp_path: Path, finished: Artifact) -> None:
    target = repository.publish(finished, tmp_path)
    assert repository.published(tmp_path, "small") == {
        1: {path.name: sha256(path) for path in target.iterdir()}
    }
    assert len(list(target.iterdir())) == 4


def test_copy_of_a_version_is_known_unless_it_was_changed(
    tmp_path: Path, finished: Artifact
) -> None:
    first = repository.publish(finished, tmp_path)
    copy = Path(shutil.copytree(first, tmp_path / "small" / "7"))
    repository.check_bytes(tmp_path, "small", 7)
    with (copy / "card.json").open("a") as card:
        card.write("\n")
    with pytest.raises(TrainingError, match="7: not in the record of published versions"):
        repository.check_bytes(tmp_path, "small", 7)


def test_record_of_versions_that_is_damaged_is_named(tmp_path: Path, finished: Artifact) -> None:
    repository.publish(finished, tmp_path)
    (tmp_path / "small" / "published.json").write_text('{"1": "0a1b"}')
    with pytest.raises(TrainingError, match=r"published\.json: not a record"):
        repository.next_version(tmp_path, "small")


@pytest.mark.parametrize("name", ["../../escaped", "..", ".hidden", "a/b", "a\\b", "", "a\nb"])
def test_name_that_leads_elsewhere_is_refused(
    tmp_path: Path, finished: Artifact, name: str
) -> None:
    change_card(finished, lambda card: card.update(name=name))
    with pytest.raises(TrainingError, match=r"name: .* is no name of a file or folder"):
        repository.publish(finished, tmp_path / "a" / "b" / "models")
    assert not (tmp_path / "a").exists()


def test_published_files_are_on_the_disk_before_they_have_their_name(
    tmp_path: Path, finished: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def note_sync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def note_rename(path: Path, target: Path) -> Path:
        synced.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "rename", note_rename)
    repository.publish(finished, tmp_path / "models")
    before, after = synced[: synced.index("rename")], synced[synced.index("rename") :]
    assert {"card.json", "model.onnx", "model.int8.onnx", "model.fp16.onnx"} <= set(before)
    assert "small" in after
