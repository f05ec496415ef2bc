import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import FOLDERS, change_card, forget_all_after_export
from training.data.dataset import DataSet
from training.errors import TrainingError
from training.measure.evaluation import Evaluation
from training.measure.metrics import Metrics
from training.measure.second_view import ServedMetrics
from training.pipeline import evaluate
from training.publish import answers, artifact, readings
from training.publish.card import Readings
from training.train.checkpoint import Run


def test_evaluation_is_written_as_json(trained: Run) -> None:
    found = json.loads((trained.folder / "evaluation.json").read_text())
    assert np.sum(found["test"]["confusion_matrix"]) == 40
    assert set(found["test"]["per_class"]["cat"]) == {"precision", "recall", "f1", "pictures"}
    card = artifact.of_run(trained.folder).read_card()
    assert card.metrics["model.onnx"]["test"].accuracy == found["test"]["accuracy"]
    for split, pictures in (("validation", 12), ("test", 40)):
        assert card.robustness[split]["blur"].pictures == pictures
        assert card.robustness[split]["jpeg_40"].unchanged == found[split]["accuracy"]
        assert 0 <= card.unfamiliar.auroc[split] <= 1
    assert len(card.unfamiliar.per_kind) == 7
    assert set(card.reliability) == set(card.files)
    reliability = [one.to_json() for one in card.reliability["model.onnx"]["test"]]
    assert reliability == found["test"]["reliability"]


def test_each_reading_of_the_test_split_is_recorded_before_it_is_used(
    trained: Run, sample: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    card = artifact.of_run(trained.folder).read_card()
    assert card.test_readings == Readings(run=1, all_runs=1)
    runs = [Run(Path(shutil.copytree(trained.folder, tmp_path / name))) for name in "ab"]
    monkeypatch.setattr(answers, "predict", interrupt)
    for run in runs:
        with pytest.raises(KeyboardInterrupt):
            evaluate.evaluate_run(run, sample, FOLDERS, tmp_path / "models")
    assert readings.count(runs[0].folder) == Readings(run=2, all_runs=4)
    lines = (runs[0].folder / "test-readings.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["command"] == "evaluate"
    assert json.loads(lines[-1])["sha256"] == card.files["model.onnx"].sha256


@pytest.mark.parametrize("what", ["photographs", "ablation", "version"])
def test_what_cannot_be_read_is_said_before_the_test_split_is_read(
    trained: Run, sample: DataSet, tmp_path: Path, what: str
) -> None:
    run = Run(Path(shutil.copytree(trained.folder, tmp_path / "run")))
    models, folders = tmp_path / "models", None
    if what == "photographs":
        folders = FOLDERS / "test", tmp_path / "nowhere"
    if what == "ablation":
        (tmp_path / "ablation-baseline").mkdir()
        (tmp_path / "ablation-baseline" / "ablation.csv").touch()
    if what == "version":
        change_card(artifact.of_run(run.folder), lambda card: card.update(version=2))
        (models / "small" / "1").mkdir(parents=True)
    with pytest.raises((TrainingError, ValueError)):
        evaluate.evaluate_run(run, sample, FOLDERS, models, folders)
    assert readings.count(run.folder) == Readings(run=1, all_runs=1)


def test_every_file_is_evaluated_and_those_for_processors_are_timed(trained: Run) -> None:
    card = artifact.of_run(trained.folder).read_card()
    assert list(card.metrics) == ["model.onnx", "model.int8.onnx", "model.fp16.onnx"]
    for splits in card.metrics.values():
        assert splits["validation"].unfamiliar_share == pytest.approx(0.05, abs=0.05)
        assert {figures.pictures for figures in splits.values()} == {12, 40}
    assert list(card.latency.files) == ["model.onnx", "model.int8.onnx"]
    assert list(card.latency.files["model.int8.onnx"]) == [1, 32]


def test_run_that_is_not_verified_is_refused(trained: Run, sample: DataSet, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(trained.folder, run.folder)
    change_card(artifact.of_run(run.folder), forget_all_after_export)
    with pytest.raises(TrainingError, match="not evaluated: run `verify` first"):
        evaluate.evaluate_run(run, sample, FOLDERS, tmp_path / "models")


def test_summary_says_when_there_are_no_test_labels() -> None:
    figures = Metrics(
        accuracy=0.5,
        pictures=4,
        log_loss=1.0,
        expected_calibration_error=0.1,
        unfamiliar_share=0.05,
    )
    served = ServedMetrics(**dict(figures) | {"accuracy": 0.75}, second_views=0.25)
    own = Evaluation.model_construct(**dict(figures), as_served=served)
    lines = evaluate.summary({"validation": own})
    assert "50.00%" in lines[0]
    assert "with second views: accuracy 75.00%" in lines[1]
    assert lines[1].endswith("25.0% of them computed twice")
    assert "no labelled test pictures" in lines[2]
    assert len(evaluate.summary({"test": own.model_copy(update={"as_served": None})})) == 1
