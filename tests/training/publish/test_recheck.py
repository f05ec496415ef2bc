import json
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
    figures, (others, latency, parity) = lines[:6], lines[6:]
    assert all(line.endswith(", as its card says") for line in figures)  # three files, two splits
    assert others.endswith("unfamiliar pictures, agreement and cost, as the card says")
    assert "latency: not measured again, it is of " in latency
    assert "not measured again, it needs the checkpoint" in parity


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("robustness", "test", "blur", "accuracy"), r"card\.json: robustness test blur accuracy"),
        (("unfamiliar", "auroc", "test"), r"card\.json: unfamiliar auroc test"),
        (
            ("metrics", "model.int8.onnx", "test", "accuracy"),
            r"model\.int8\.onnx: test accuracy",
        ),
        (
            ("reliability", "model.onnx", "test", 0, "confidence"),
            r"card\.json: reliability model\.onnx bin \d+ confidence",
        ),
        (
            ("agreement", "model.int8.onnx", "largest_difference"),
            r"card\.json: agreement model\.int8\.onnx largest_difference",
        ),
        (("cost", "flops"), r"card\.json: cost flops"),
    ],
)
def test_wrong_figure_is_found(
    published: Artifact, tmp_path: Path, path: tuple[str | int, ...], words: str
) -> None:
    def change(card: dict[str, Any]) -> None:
        place, last = within(card, path)
        place[last] += 1 if isinstance(place[last], int) else 0.05

    change_card(published, change)
    with pytest.raises(TrainingError, match=rf"{words} is .*, the card says"):
        recheck.recheck(tmp_path, FOLDERS)


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        (("metrics", "model.int8.onnx"), r"metrics: the card does not have model\.int8\.onnx"),
        (("metrics", "model.onnx", "test"), r"metrics model\.onnx: the card does not have test"),
        (("metrics", "model.onnx", "test", "top_3_accuracy"), "does not have top_3_accuracy"),
        (("reliability", "model.fp16.onnx"), r"reliability: .* does not have model\.fp16\.onnx"),
        (("reliability", "model.onnx", "test"), "reliability .* does not have test"),
        (("reliability", "model.onnx", "test", 0), "reliability .* the card says 0"),
        (("robustness", "validation"), "robustness: the card does not have validation"),
        (("robustness", "test", "noise"), "robustness test: the card does not have noise"),
        (
            ("unfamiliar", "per_kind", "photographs"),
            "unfamiliar: the card does not have photographs",
        ),
        (("unfamiliar", "auroc", "test"), "unfamiliar auroc: the card does not have test"),
        (("agreement", "model.int8.onnx"), r"agreement: .* does not have model\.int8\.onnx"),
        (("latency", "files", "model.int8.onnx"), r"latency: .* does not have model\.int8\.onnx"),
        (("latency", "files", "model.onnx", "32"), r"latency model\.onnx: .* does not have 32"),
        (("parity",), "parity: Field required|run `verify` first"),
        (("metrics",), "Extra inputs|run `evaluate` first|Field required"),
    ],
)
def test_missing_figure_is_found(
    published: Artifact, tmp_path: Path, path: tuple[str | int, ...], missing: str
) -> None:
    def remove(card: dict[str, Any]) -> None:
        place, last = within(card, path)
        del place[last]

    change_card(published, remove)
    with pytest.raises(TrainingError, match=missing):
        recheck.recheck(tmp_path, FOLDERS)


def within(card: Any, path: tuple[str | int, ...]) -> tuple[Any, str | int]:  # noqa: ANN401
    """The place of a figure: what holds it, and its key there."""
    *parents, last = path
    for key in parents:
        card = card[key]
    return card, last


def test_version_whose_bytes_were_replaced_is_found(published: Artifact, tmp_path: Path) -> None:
    record = published.folder.with_name("published.json")
    record.write_text(json.dumps({"1": "0" * 64}))
    with pytest.raises(TrainingError, match="other bytes were published as this version"):
        recheck.recheck(tmp_path, FOLDERS)


def test_file_that_disagrees_with_its_card_is_found(published: Artifact, tmp_path: Path) -> None:
    def rotate(card: dict[str, Any]) -> None:
        first, *others = card["labels"]
        card["labels"] = [*others, first]

    change_card(published, rotate)
    with pytest.raises(TrainingError, match=r"model\.onnx: its labels differs from the card"):
        recheck.recheck(tmp_path, FOLDERS)
