from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import FOLDERS, change_card
from training.errors import TrainingError
from training.publish import artifact, recheck, repository
from training.publish.artifact import Artifact
from training.train.checkpoint import Run


@pytest.fixture
def published(trained: Run, tmp_path: Path) -> Artifact:
    """The trained network, published in a repository of its own at `tmp_path`."""
    return Artifact(repository.publish(artifact.of_run(trained.folder), tmp_path))


def test_right_figures_pass(published: Artifact, tmp_path: Path) -> None:
    assert published.folder.is_relative_to(tmp_path)
    lines = recheck.recheck(tmp_path, FOLDERS)
    assert len(lines) == 6  # three files, two splits
    assert all(line.endswith(", as its card says") for line in lines)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("robustness", "test", "blur", "accuracy"), r"card\.json: robustness test blur accuracy"),
        (("unfamiliar", "auroc", "test"), r"card\.json: unfamiliar auroc test"),
        (
            ("metrics", "model.int8.onnx", "test", "accuracy"),
            r"model\.int8\.onnx: test accuracy",
        ),
    ],
)
def test_wrong_figure_is_found(
    published: Artifact, tmp_path: Path, path: tuple[str, ...], words: str
) -> None:
    def change(card: dict[str, Any]) -> None:
        *parents, last = path
        for key in parents:
            card = card[key]
        card[last] += 0.01

    change_card(published, change)
    with pytest.raises(TrainingError, match=rf"{words} is .*, the card says"):
        recheck.recheck(tmp_path, FOLDERS)
