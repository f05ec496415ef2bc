import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.shipped import NEWEST
from training.__main__ import main
from training.study import closer_looks

CAT = Path(__file__).parents[2] / "data" / "cat.jpg"


def test_each_way_to_look_has_a_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cat", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "cat" / "cat.jpg").write_bytes(CAT.read_bytes())
    noise = np.random.default_rng(0).integers(0, 256, (2, 150, 200, 3), np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / "other" / f"{number}.png")
    folders = ["--photographs", str(tmp_path), "--other", str(tmp_path / "other")]
    command = ["python -m training", "closer-looks", str(NEWEST), *folders]
    monkeypatch.setattr(sys, "argv", command)
    assert main() == 0
    printed = capsys.readouterr().out
    for name in closer_looks.LOOKS:
        assert name in printed
    assert "1 of the classes: right" in printed
