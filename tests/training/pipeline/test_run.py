import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from training.data.dataset import DataSet
from training.measure.evaluation import Evaluation
from training.measure.metrics import Metrics
from training.measure.second_view import ServedMetrics
from training.pipeline import run
from training.presets import Preset
from training.publish.artifact import Artifact
from training.train.checkpoint import Run

ACCURACIES = {0: 0.8, 1: 0.9}


@pytest.fixture
def steps(trained: Run, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces each step by a copy of the trained run; returns what is called."""
    calls: list[str] = []

    def fit(_: Preset, __: DataSet, folder: Path, *, seed: int, **___: object) -> None:
        calls.append(f"fit {folder.name} seed {seed}")
        shutil.copytree(trained.folder, folder)

    def evaluate(found: Run, *_: object) -> dict[str, Evaluation]:
        calls.append(f"evaluate {found.folder.name}")
        accuracy = ACCURACIES[int(found.folder.name[-1])]
        figures = Metrics(
            pictures=40,
            accuracy=accuracy,
            log_loss=1.0,
            expected_calibration_error=0.1,
            unfamiliar_share=0.05,
        )
        better = dict(figures) | {"accuracy": accuracy + 0.02}
        served = ServedMetrics(**better, second_views=0.1)
        return {"test": Evaluation.model_construct(**dict(figures), as_served=served)}

    monkeypatch.setattr("training.train.fit.fit", fit)
    monkeypatch.setattr("training.pipeline.steps.export_run", lambda *_: None)
    monkeypatch.setattr("training.pipeline.steps.verify_run", lambda *_: 0.0)
    monkeypatch.setattr("training.pipeline.evaluate.evaluate_run", evaluate)
    return calls


def test_first_seed_is_published_with_the_spread_of_all(
    steps: list[str], preset: Preset, sample: DataSet, tmp_path: Path
) -> None:
    published = run.run_all(
        preset, sample, None, models=tmp_path / "models", runs=tmp_path, name="small", seeds=[0, 1]
    )
    assert steps == [
        "fit baseline-seed0 seed 0",
        "evaluate baseline-seed0",
        "fit baseline-seed1 seed 1",
        "evaluate baseline-seed1",
    ]
    assert published == tmp_path / "models" / "small" / "1"
    spread = Artifact(published).read_card().seeds
    assert spread is not None
    assert spread["test"].accuracy == (0.8, 0.9)
    assert spread["test"].mean == pytest.approx(0.85)
    served = Artifact(published).read_card().seeds_as_served
    assert served is not None
    assert served["test"].mean == pytest.approx(0.87)


def test_teacher_is_trained_before_its_student(
    steps: list[str], preset: Preset, sample: DataSet, tmp_path: Path
) -> None:
    run.run_all(
        replace(preset, teacher="teacher"), sample, None,
        models=tmp_path / "models", runs=tmp_path, name="small", seeds=[0],
    )  # fmt: skip
    assert steps[:2] == ["fit teacher-seed0 seed 0", "fit baseline-seed0 seed 0"]
    card = Artifact(tmp_path / "models" / "small" / "1").read_card()
    assert card.seeds is None
