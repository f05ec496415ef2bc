from pathlib import Path

import pytest

from tests.training.conftest import change_card, forget_all_after_export
from training.errors import TrainingError
from training.publish import repository
from training.publish.artifact import Artifact


def test_published_version_is_whole(tmp_path: Path, finished: Artifact) -> None:
    target = repository.publish(finished, tmp_path / "models")
    assert target == tmp_path / "models" / "small" / "1"
    assert sorted(path.name for path in target.iterdir()) == [
        "card.json", "model.fp16.onnx", "model.int8.onnx", "model.onnx",
    ]  # fmt: skip
    assert [path.name for path in target.parent.iterdir()] == ["1"]
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
