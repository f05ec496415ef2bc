from pathlib import Path

import pytest

from training.errors import TrainingError
from training.publish.artifact import Artifact


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_changed_file_is_refused(finished: Artifact, name: str) -> None:
    with (finished.folder / name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(TrainingError, match="not the file of its card"):
        finished.read_card()


def test_folder_without_artifact_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="run `export` first"):
        Artifact(tmp_path).read_card()


@pytest.mark.parametrize("text", ["{", "[]", "7", "{}", '{"metrics": {}}'])
def test_invalid_card_is_refused(finished: Artifact, text: str) -> None:
    finished.card.write_text(text)
    with pytest.raises(TrainingError, match=r"card\.json: "):
        finished.read_exported()


def test_card_says_how_the_model_was_made(finished: Artifact) -> None:
    card = finished.read_card()
    assert card.training.preset == "baseline"
    assert card.training.config.network.widths == (8, 16)
    assert card.training.libraries["tensorflow"]
    assert card.data.source == "class folders"
    assert card.data.test == 40
    assert set(card.metrics["model.onnx"]) == {"validation", "test"}
    assert card.parity <= 1e-4
