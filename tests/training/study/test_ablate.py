from pathlib import Path

import pytest

from training.data.dataset import DataSet
from training.presets import Preset
from training.study import ablate


def test_close_variants_get_three_seeds_and_no_run_is_made_twice(
    sample: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = {
        "default": 0.70, "no-cutout": 0.65, "random-flips": 0.705, "taught-by-that": 0.705
    }  # fmt: skip
    trained: list[str] = []

    def train(_preset: Preset, _data: DataSet, run: Path, seed: int) -> dict[str, float]:
        trained.append(run.name)
        accuracy = accuracies.get(run.name.partition("-seed")[0], 0.5) + seed / 100
        return {"parameters": 7, "validation_accuracy": accuracy}

    monkeypatch.setattr(ablate, "_train", train)
    table = ablate.ablate("default", sample, tmp_path)

    assert dict(table["seeds"][table["seeds"] > 1]) == {"default": 3, "random flips": 3}
    assert table.loc["default", "validation_accuracy"] == pytest.approx(0.71)
    assert table.loc["default", "spread"] == pytest.approx(0.01)
    assert len(trained) == len(set(trained))
    assert trained.index("half-as-wide-again-seed0") < trained.index("taught-by-that-seed0")
    assert (tmp_path / "ablation.csv").exists()
