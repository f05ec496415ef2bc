import json
from pathlib import Path

import pytest

from training.errors import TrainingError
from training.publish import repository
from training.publish.repository import Artifact


def test_published_version_is_whole(tmp_path: Path, finished: Artifact) -> None:
    target = repository.publish(finished, tmp_path / "models")
    assert target == tmp_path / "models" / "small" / "1"
    assert sorted(path.name for path in target.iterdir()) == [
        "card.json", "model.fp16.onnx", "model.int8.onnx", "model.onnx",
    ]  # fmt: skip
    assert [path.name for path in target.parent.iterdir()] == ["1"]
    assert repository.versions(tmp_path / "models", "small") == [1]


@pytest.mark.parametrize(("key", "step"), [("parity", "verify"), ("metrics", "evaluate")])
def test_unfinished_artifact_is_not_published(
    tmp_path: Path, finished: Artifact, key: str, step: str
) -> None:
    card = finished.read_card()
    del card[key]
    finished.write_card(card)
    with pytest.raises(TrainingError, match=f"run `{step}` first"):
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


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_changed_file_is_refused(finished: Artifact, name: str) -> None:
    with (finished.folder / name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(TrainingError, match="not the file of its card"):
        finished.read_card()


def test_folder_without_artifact_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="run `export` first"):
        Artifact(tmp_path).read_card()


def test_card_says_how_the_model_came_to_be(finished: Artifact) -> None:
    card = json.loads(finished.card.read_text())
    assert card["training"]["preset"] == "baseline"
    assert card["training"]["config"]["network"]["widths"] == [8, 16]
    assert card["training"]["libraries"]["tensorflow"]
    assert card["data"]["source"] == "class folders"
    assert card["data"]["test"] == 40
    assert set(card["metrics"]["model.onnx"]) == {"validation", "test"}
    assert card["parity"] <= 1e-4
