import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.conftest import FOLDERS, pictures
from training.__main__ import main
from training.data.dataset import Split
from training.publish.artifact import Artifact
from training.study import resize_rules

BASELINE = Path(__file__).parents[3] / "models" / "cifar10" / "1" / "model.onnx"
IMAGES, LABELS = pictures("test")


def test_filled_scene_shrinks_back_to_the_picture() -> None:
    for number, pixels in enumerate(IMAGES[:4]):
        image = Image.fromarray(pixels)
        scene = resize_rules.scene("filled", image, image, np.random.default_rng(number))
        small = np.asarray(scene.resize((32, 32), Image.Resampling.BOX)).astype(int)
        assert np.abs(small - pixels).mean() < 6


@pytest.mark.parametrize("kind", resize_rules.SCENES)
def test_scene_shows_the_picture_and_its_surroundings(kind: str) -> None:
    red, blue = (Image.new("RGB", (32, 32), colour) for colour in ("red", "blue"))
    scenes = [resize_rules.scene(kind, red, blue, np.random.default_rng(n)) for n in range(12)]
    assert {scene.size for scene in scenes} == set(resize_rules.FRAMES)
    shares = [float(np.mean(np.asarray(scene)[..., 0] > 128)) for scene in scenes]
    if kind == "other":
        assert all(0.2 < share < 1 for share in shares)
    else:
        assert shares == [1] * len(shares)


def test_table_tells_the_rules_apart(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resize_rules, "PICTURES", 20)
    table = resize_rules.measure(BASELINE, Split(IMAGES, np.array(LABELS)), 32)
    assert len(table) == len(resize_rules.RULES) == 18
    assert table["mean_over_classes"].is_monotonic_decreasing
    filled = table["filled"].groupby("mode").mean()
    assert filled["stretch"] > filled["pad"]
    assert table["accuracy"].to_numpy() == pytest.approx(
        table[list(resize_rules.SCENES)].mean(axis=1).to_numpy()
    )
    assert capsys.readouterr().out == ""


def test_published_version_is_measured_on_the_validation_pictures_of_its_training(
    finished: Artifact, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["", "resize-rules", str(finished.model), "--data", str(FOLDERS)]
    )
    assert main() == 0
    assert "stretch" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["", "resize-rules", str(BASELINE), "--data", str(FOLDERS)])
    assert main() == 1
    assert "trained on other data than --data names" in capsys.readouterr().err
