from pathlib import Path

import pandas as pd
import pytest

from training.data.dataset import DataSet
from training.presets import Preset
from training.study import ablate
from training.train.checkpoint import Run

ACCURACIES = {"default": 0.70, "no-cutout": 0.65, "no-outliers": 0.705}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Replaces training and measuring; returns which runs were trained and measured."""
    made: dict[str, list[str]] = {"trained": [], "measured": [], "pictures": []}

    def train(_: Preset, data: DataSet, run: Run, _seed: int) -> int:
        made["trained"].append(run.folder.name)
        made["pictures"].append(str(len(data.train)))
        run.folder.mkdir(parents=True, exist_ok=True)
        return 7

    def measured(run: Run, *_: object) -> dict[str, float]:
        made["measured"].append(run.folder.name)
        name, seed = run.folder.name.split("-seed")
        wobble = 0.002 if (name, seed) == ("no-cutout", "2") else 0
        return {"validation_accuracy": ACCURACIES.get(name, 0.5) + int(seed) / 100 + wobble}

    monkeypatch.setattr(ablate, "_train", train)
    monkeypatch.setattr(ablate, "_measured", measured)
    return made


@pytest.mark.parametrize("preset", ablate.VARIANTS)
def test_at_most_six_variants_are_trained_with_the_same_three_seeds(
    sample: DataSet, tmp_path: Path, calls: dict[str, list[str]], preset: str
) -> None:
    table = ablate.ablate(preset, sample, tmp_path)
    assert 2 <= len(table) <= 6
    assert set(table["seeds"]) == {3}
    seeds = [name.split("-seed")[1] for name in calls["trained"]]
    # A seed of all variants before the next.
    assert seeds == ["0"] * len(table) + ["1"] * len(table) + ["2"] * len(table)
    assert set(calls["pictures"]) == {str(len(sample.train))}


def test_differences_are_taken_seed_by_seed(
    sample: DataSet, tmp_path: Path, calls: dict[str, list[str]]
) -> None:
    table = ablate.ablate("default", sample, tmp_path, pictures=20)
    assert set(calls["pictures"]) == {"20"}
    assert table.loc["default", "validation_accuracy"] == pytest.approx(0.71)
    assert table.loc["default", "spread"] == pytest.approx(0.01)
    assert table.loc["no outliers"][["difference", "low", "high"]].to_numpy() == pytest.approx(
        [0.005] * 3  # the seeds spread alike
    )
    row = table.loc["no cutout"]
    assert row["difference"] == pytest.approx(-0.05 + 0.002 / 3)
    assert row["high"] - row["low"] == pytest.approx(2 * 4.302653 * 0.002 / 3, rel=1e-3)


def test_interrupted_ablation_goes_on_and_keeps_what_is_measured(
    sample: DataSet,
    tmp_path: Path,
    calls: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = ablate._measured

    def cut(run: Run, preset: Preset, data: DataSet) -> dict[str, float]:
        if run.folder.name == "no-cutout-seed1":
            raise KeyboardInterrupt
        return measured(run, preset, data)

    with monkeypatch.context() as patch:
        patch.setattr(ablate, "_measured", cut)
        with pytest.raises(KeyboardInterrupt):
            ablate.ablate("default", sample, tmp_path)
    partial = pd.read_csv(tmp_path / "ablation.csv", index_col=0)
    assert partial["seeds"].tolist() == [2, 1, 1, 1, 1, 1]
    ablate.ablate("default", sample, tmp_path)
    assert len(calls["measured"]) == len(set(calls["measured"])) == 18
