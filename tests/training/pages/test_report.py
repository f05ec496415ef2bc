import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import FOLDERS
from training.data.dataset import DataSet
from training.export import to_onnx
from training.measure.evaluation import Evaluation
from training.measure.predict import Predictions
from training.pages import report
from training.pipeline import evaluate, steps
from training.presets import DEFAULT
from training.publish import artifact, repository
from training.publish.card import Readings
from training.train.checkpoint import Run


def pictures_in(page: str) -> int:
    """How many the page shows; all of them are part of it."""
    assert page.count('src="data:image/png;base64,') == page.count("<img")
    return page.count("<img")


def test_report_needs_nothing_but_itself(trained: Run) -> None:
    page = (trained.folder / "report.html").read_text()
    for heading in ("Sample", "Class balance", "Network", "Learning curves", "Confusion",
                    "Reliability", "Changed pictures", "out-of-distribution pictures",
                    "confident errors"):  # fmt: skip
        assert heading in page
    assert pictures_in(page) == 8
    assert "Seed 0, the only seed" in page
    assert "http" not in page
    assert "<script" not in page


def test_report_shows_every_figure_of_the_card(trained: Run) -> None:
    page = (trained.folder / "report.html").read_text()
    card = artifact.of_run(trained.folder).read_card()
    for change, accuracy in card.robustness["test"].items():
        digits = 2 if change.startswith("jpeg") else 1
        assert f"<td>{accuracy.accuracy:.{digits}%}</td>".replace("%", " %") in page
    for kind, figures in card.unfamiliar.per_kind.items():
        assert kind.replace("_", " ") in page
        assert f"<td>{figures.auroc['test']:.3f} (" in page
    # Tiles of 13 photographs, which stand first.
    assert page.index("<td>photographs</td><td>300</td><td>13</td>") < page.index("<td>plain</td>")
    assert "Not measured on real photographs" in page
    assert "Readings of the test split: 1 for this run" in page
    assert "sharpness-aware" not in page


@pytest.fixture(scope="module")
def second(trained: Run, sample: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the run as that of seed 1, exported beside a published version 1."""
    folder = tmp_path_factory.mktemp("second")
    for name in ("seed0", "seed1", "other-preset"):
        shutil.copytree(trained.folder, folder / name)
    run = Run(folder / "seed1")
    settings = run.read_settings()
    run.write_settings(settings.model_copy(update={"seed": 1}))
    other = {"seed": 7, "preset": replace(settings.preset, epochs=99)}
    Run(folder / "other-preset").write_settings(settings.model_copy(update=other))
    repository.publish(artifact.of_run(folder / "seed0"), folder / "models")
    steps.export_run(run, sample, folder / "models", "small")
    steps.verify_run(run, sample)
    photographs = FOLDERS / "test", FOLDERS / "train" / "cat"
    others = [artifact.of_run(folder / "seed0").read_card()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "_first_sharp_epoch", lambda _card: 2)
        evaluate.evaluate_run(run, sample, FOLDERS, folder / "models", photographs, others)
    return run


def test_photographs_stand_first_with_their_intervals(second: Run) -> None:
    page = (second.folder / "report.html").read_text()
    card = artifact.of_run(second.folder).read_card()
    assert card.photographs is not None
    assert list(card.photographs) == list(card.files)
    right = card.photographs["model.int8.onnx"].accuracy
    assert right.pictures == 40
    assert right.value == card.metrics["model.int8.onnx"]["test"].accuracy
    assert f"<td>{right.text().replace('%', ' %')}</td>" in page
    assert "12 of other things: called unfamiliar" in page
    assert page.index("of the classes: right") < page.index("<td>photographs</td>")
    assert card.test_readings == Readings(run=2, all_runs=4)


def test_seeds_of_the_preset_share_the_learning_curves(second: Run) -> None:
    page = (second.folder / "report.html").read_text()
    assert "Seeds 0, 1, one line each" in page
    assert "From epoch 2 on the steps are sharpness-aware" in page


@pytest.mark.parametrize(("epochs", "first"), [(50, 31), (30, None)], ids=["whole", "cut"])
def test_first_sharp_epoch_is_one_that_was_trained(
    trained: Run, epochs: int, first: int | None
) -> None:
    card = artifact.of_run(trained.folder).read_card()
    preset = replace(DEFAULT, epochs=50, sharpness_share=0.4)
    training = card.training.model_copy(update={"config": preset, "epochs": epochs})
    changed = card.model_copy(update={"training": training})
    assert report._first_sharp_epoch(changed) == first


def test_report_has_the_spread_over_seeds(second: Run) -> None:
    page = (second.folder / "report.html").read_text()
    seeds = artifact.of_run(second.folder).read_card().seeds
    assert seeds is not None
    assert "<h3>Seeds (test)</h3>" in page
    for splits in seeds.values():
        assert splits["test"].seeds == (1, 0)
        accuracy, loss = splits["test"].accuracy, splits["test"].log_loss
        mean, low, high = (f"{100 * x:.2f} %" for x in (accuracy.mean, *accuracy.interval))
        deviation = f"{100 * accuracy.standard_deviation:.2f} %"
        assert f"<td>{mean} ± {deviation} ({low} to {high})</td>" in page
        mean, low, high = (f"{x:.4f}" for x in (loss.mean, *loss.interval))
        assert f"<td>{mean} ± {loss.standard_deviation:.4f} ({low} to {high})</td>" in page


def test_version_is_compared_with_the_one_published_before(second: Run) -> None:
    page = (second.folder / "report.html").read_text()
    assert "Where small 2 and small 1 differ (test)" in page
    assert "Only small 1 is right: 0" in page  # it is the same network


def test_disagreements_are_sorted_by_who_is_right(
    trained: Run, sample: DataSet, tmp_path: Path
) -> None:
    split, classes = sample.validation, len(sample.classes)
    found = artifact.of_run(trained.folder)
    evaluations = json.loads((trained.folder / "evaluation.json").read_text())
    evaluation = Evaluation.model_validate(evaluations["validation"])

    def answers(labels: list[int]) -> Predictions:
        return Predictions(
            np.eye(classes, dtype=np.float32)[labels], np.zeros(len(labels), np.float32)
        )

    truth = split.labels.tolist()
    wrong, otherwise = ([(label + step) % classes for label in truth] for step in (1, 2))
    own = truth[:7] + wrong[7:]
    other = truth[:2] + wrong[2:7] + truth[7:8] + wrong[8:10] + otherwise[10:]
    path = tmp_path / "report.html"
    report.write(
        report.Report(
            card=found.read_card(), evaluations={"validation": evaluation}, data=sample,
            shown=split, predictions=answers(own), unfamiliar={"noise": np.ones(3, np.float32)},
            published=report.Published("small 0", answers(other)),
            model=to_onnx.load_float32(trained),
            histories={0: trained.read_history()}, ablation=None,
        ),
        path,
    )  # fmt: skip
    page = path.read_text()
    assert "Only small 1 is right: 5" in page
    assert "Only small 0 is right: 1" in page
    assert "with different answers: 2" in page
    assert pictures_in(page) == 8 + 3
