import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import FOLDERS, change_card, forget_all_after_export
from training.data.dataset import DataSet
from training.errors import TrainingError
from training.measure.evaluation import Evaluation
from training.pipeline import run
from training.pipeline.run import Plan
from training.presets import Preset
from training.publish import artifact, readings, repository, seeds
from training.publish.artifact import Artifact
from training.publish.card import Card, Readings
from training.train.checkpoint import Run

ACCURACIES = {0: 0.8, 1: 0.9}
Planned = Callable[..., Plan]


class Steps:
    """Stand in for the steps: each makes what the step makes, out of the trained run.

    Attributes:
        called: the steps, in order.
    """

    def __init__(self, trained: Run) -> None:
        self._trained = trained
        self.called: list[str] = []

    def fit(self, _: Preset, __: DataSet, folder: Path, *, seed: int, **___: object) -> None:
        self.called.append(f"fit {folder.name}")
        if not folder.exists():
            folder.mkdir(parents=True)
            for name in ("run.json", "history.csv", "checkpoint.keras"):
                shutil.copy(self._trained.folder / name, folder)
            values = json.loads((folder / "run.json").read_text())
            (folder / "run.json").write_text(json.dumps(values | {"seed": seed}))

    def export(self, made: Run, _: DataSet, models: Path, name: str) -> None:
        self.called.append(f"export {made.folder.name}")
        files = artifact.of_run(self._trained.folder).folder
        shutil.copytree(files, made.folder / "artifact", dirs_exist_ok=True)

        def change(card: dict[str, Any]) -> None:
            forget_all_after_export(card)
            card["training"]["seed"] = made.read_settings().seed
            card["version"] = repository.next_version(models, name)

        change_card(artifact.of_run(made.folder), change)

    def verify(self, made: Run, _: DataSet) -> float:
        self.called.append(f"verify {made.folder.name}")
        change_card(
            artifact.of_run(made.folder), lambda card: card.update(parity=0.0, agreement={})
        )
        return 0.0

    def evaluate(
        self, made: Run, _: DataSet, __: Path | None, ___: Path, ____: object, others: list[Card]
    ) -> dict[str, Evaluation]:
        self.called.append(f"evaluate {made.folder.name}")
        files = artifact.of_run(made.folder)
        readings.record(made.folder, "evaluate", files.model)
        whole = artifact.of_run(self._trained.folder).read_card()
        exported = files.read_exported()
        figures = whole.metrics["model.onnx"]["test"].model_copy(
            update={"accuracy": ACCURACIES[exported.training.seed]}
        )
        card = Card.model_validate(
            dict(whole) | dict(exported) | {"metrics": {"model.onnx": {"test": figures}}}
            | {"test_readings": readings.count(made.folder)}
        )  # fmt: skip
        files.write_card(card.model_copy(update=seeds.spreads([card, *others])._asdict()))
        return {}


@pytest.fixture
def steps(trained: Run, monkeypatch: pytest.MonkeyPatch) -> Steps:
    made = Steps(trained)
    monkeypatch.setattr("training.train.fit.fit", made.fit)
    monkeypatch.setattr("training.pipeline.steps.export_run", made.export)
    monkeypatch.setattr("training.pipeline.steps.verify_run", made.verify)
    monkeypatch.setattr("training.pipeline.evaluate.evaluate_run", made.evaluate)
    return made


@pytest.fixture
def planned(preset: Preset, sample: DataSet, tmp_path: Path) -> Planned:
    def plan(**changes: Any) -> Plan:  # noqa: ANN401
        whole = Plan(
            preset, sample, FOLDERS, tmp_path / "models", tmp_path / "runs", "small", [0, 1]
        )
        return replace(whole, **changes)

    return plan


def test_first_seed_is_published_with_the_spread_and_the_readings_of_all(
    steps: Steps, planned: Planned, tmp_path: Path
) -> None:
    published = run.run_all(planned())
    assert steps.called == [
        f"{step} baseline-seed{seed}" for seed in (0, 1) for step in ("fit", "export", "verify")
    ] + ["evaluate baseline-seed1", "evaluate baseline-seed0"]
    assert published == tmp_path / "models" / "small" / "1"
    card = Artifact(published).read_card()
    assert card.training.seed == 0
    assert card.seeds is not None
    assert card.seeds["model.onnx"]["test"].accuracy.values == (0.8, 0.9)
    assert card.test_readings == Readings(run=1, all_runs=2)


def test_teacher_is_trained_before_its_student(
    steps: Steps, planned: Planned, preset: Preset
) -> None:
    published = run.run_all(planned(preset=replace(preset, teacher="teacher"), seeds=[0]))
    assert steps.called[:2] == ["fit teacher-seed0", "fit baseline-seed0"]
    assert Artifact(published).read_card().seeds is None


def test_photograph_that_cannot_be_read_ends_the_run_before_the_training(
    steps: Steps, planned: Planned, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="no such folder"):
        run.run_all(planned(photographs=(FOLDERS / "test", tmp_path / "nowhere")))
    assert steps.called == []


def test_what_is_done_is_not_done_again_and_the_test_split_not_read(
    steps: Steps, planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(repository, "publish", full)
        with pytest.raises(OSError, match="no space"):
            run.run_all(planned())
    steps.called.clear()
    card = Artifact(run.run_all(planned(resume=True))).read_card()
    assert steps.called == ["fit baseline-seed0", "fit baseline-seed1"]
    assert card.test_readings == Readings(run=1, all_runs=2)


def test_run_with_another_checkpoint_is_exported_and_evaluated_again(
    steps: Steps, planned: Planned, tmp_path: Path
) -> None:
    run.run_all(planned(seeds=[1]))
    steps.called.clear()
    with (tmp_path / "runs" / "baseline-seed1" / "checkpoint.keras").open("ab") as file:
        file.write(b"trained on")
    run.run_all(planned())
    assert steps.called.count("export baseline-seed1") == 1
    assert steps.called.count("evaluate baseline-seed1") == 1


def test_number_that_was_published_meanwhile_is_not_that_of_the_run(
    steps: Steps, planned: Planned, monkeypatch: pytest.MonkeyPatch, finished: Artifact
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("training.pipeline.evaluate.evaluate_run", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            run.run_all(planned())
    change_card(finished, lambda card: card.update(name="small"))
    (finished.folder / "model.onnx").write_bytes(b"another")
    digest = artifact.sha256(finished.model)
    change_card(finished, lambda card: card["files"]["model.onnx"].update(sha256=digest))
    repository.publish(finished, planned().models)
    steps.called.clear()
    published = run.run_all(planned(resume=True))
    assert published.name == "2"
    assert [call for call in steps.called if "export" in call] == ["export baseline-seed0"]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_run_is_not_published_twice(steps: Steps, planned: Planned, tmp_path: Path) -> None:
    run.run_all(planned())
    steps.called.clear()
    with pytest.raises(TrainingError, match=r"baseline-seed0: published already, as .*small/1"):
        run.run_all(planned(resume=True))
    assert steps.called == []
    assert repository.versions(tmp_path / "models", "small") == [1]


def test_export_that_was_cut_off_is_made_again(
    steps: Steps, planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("training.pipeline.steps.verify_run", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            run.run_all(planned(seeds=[0]))
    (tmp_path / "runs" / "baseline-seed0" / "artifact" / "model.onnx").write_bytes(b"half")
    run.run_all(planned(seeds=[0], resume=True))
    assert steps.called.count("export baseline-seed0") == 2
