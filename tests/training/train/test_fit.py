import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from training.data.dataset import DataSet
from training.errors import TrainingError
from training.presets import DEFAULT, Preset, WhitenedNetwork
from training.train import backend, fit
from training.train.checkpoint import HISTORY_COLUMNS, Run
from training.train.feed import Batches

BREAK = 6  # a save before the first epoch, three in it, and this one within the second


def same_weights(first: keras.Model, second: keras.Model) -> bool:
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def interrupted_save(after: int, when: Callable[[Run, keras.Model, pd.DataFrame], None]) -> object:
    """A `Run.save` that is cut off by Ctrl-C when it is called for the `after`th time."""
    real, calls = Run.save, 0

    def save(run: Run, model: keras.Model, history: pd.DataFrame) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            when(run, model, history)
            raise KeyboardInterrupt
        real(run, model, history)

    return save


@pytest.fixture(scope="module")
def whole(trained: Run) -> keras.Model:
    """The network of `preset` with seed 0, trained without a break."""
    return keras.saving.load_model(trained.checkpoint)


def test_same_seed_gives_the_same_weights_and_another_does_not_however_rarely_they_are_saved(
    tmp_path: Path,
    preset: Preset,
    sample: DataSet,
    whole: keras.Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []
    real = Run.save

    def save(run: Run, model: keras.Model, history: pd.DataFrame) -> None:
        made.append(len(history))
        real(run, model, history)

    monkeypatch.setattr(Run, "save", save)
    models = []
    # Of epochs that are short for what a save takes not all are saved, but the last one is.
    for seed, share, saves in ((0, 1e-9, 2), (1, 1e9, 4)):
        made.clear()
        monkeypatch.setattr(fit, "SAVING", share)
        models.append(fit.fit(preset, sample, tmp_path / str(seed), seed=seed))
        assert len(made) == saves
        assert made[-1] == preset.epochs
    same, other = models
    assert same_weights(whole, same)
    assert not same_weights(whole, other)


@pytest.mark.parametrize("written", ["nothing", "history"])
def test_resumed_run_ends_like_an_uninterrupted_one_and_keeps_the_time_before_the_break(
    tmp_path: Path,
    preset: Preset,
    sample: DataSet,
    monkeypatch: pytest.MonkeyPatch,
    trained: Run,
    whole: keras.Model,
    written: str,
) -> None:
    def half(run: Run, _: keras.Model, history: pd.DataFrame) -> None:
        if written == "history":
            history.to_csv(run.history, index=False)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "SAVE_SECONDS", 0.0)  # after each step
        patch.setattr(Run, "save", interrupted_save(BREAK, half))
        with pytest.raises(KeyboardInterrupt):
            fit.fit(preset, sample, tmp_path / "cut")
    run = Run(tmp_path / "cut")
    spent = json.loads(run.clock.read_text())
    assert spent["epoch"] == run.epochs()
    assert spent["processor_seconds"] > 0
    run.clock.write_text(json.dumps(spent | {"seconds": 5000.0, "processor_seconds": 7000.0}))
    resumed = fit.fit(preset, sample, run.folder, resume=True)
    assert same_weights(whole, resumed)
    columns = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
    expected, found = (each.read_history()[columns] for each in (trained, run))
    # In the epoch of the break these are of the steps after it.
    expected.loc[1, ["loss", "accuracy"]] = found.loc[1, ["loss", "accuracy"]]
    pd.testing.assert_frame_equal(expected, found)
    times = run.read_history()[["seconds", "processor_seconds"]]
    assert (times > 0).all(axis=None)
    assert times.iloc[spent["epoch"]].gt([5000.0, 7000.0]).all()
    assert times.drop(index=spent["epoch"]).lt(5000.0).all(axis=None)


@pytest.mark.long
def test_growing_pictures_end_at_the_full_size_and_resume_to_the_same_weights(
    tmp_path: Path, sample: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = WhitenedNetwork(widths=(4, 8))
    preset = replace(DEFAULT, network=network, growth=(0.5, 0.75), epochs=3, batch_size=32)
    sizes = [Batches(preset, sample.train, 10, 0, epoch)[0][0].shape[1:3] for epoch in range(3)]
    assert sizes == [(16, 16), (24, 24), (32, 32)]
    whole = fit.fit(preset, sample, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(fit, "SAVE_SECONDS", 0.0)  # after each step
        patch.setattr(Run, "save", interrupted_save(BREAK, lambda *_: None))
        with pytest.raises(KeyboardInterrupt):
            fit.fit(preset, sample, tmp_path / "cut")
    assert same_weights(whole, fit.fit(preset, sample, tmp_path / "cut", resume=True))


@pytest.mark.long
def test_fused_residual_network_resumes_sharpness_aware_steps_and_is_measured_in_some_epochs(
    tmp_path: Path, sample: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = WhitenedNetwork(widths=(4, 8), group=3, residual=True, fused=True)
    preset = replace(
        DEFAULT, network=network, epochs=4, batch_size=32, validate_every=3,
        sharpness_radius=0.2, sharpness_share=0.75,
    )  # fmt: skip
    whole = fit.fit(preset, sample, tmp_path / "whole")
    history = Run(tmp_path / "whole").read_history()
    assert history["val_accuracy"].notna().tolist() == [False, False, True, True]
    assert history["loss"].notna().all()
    assert list(history.columns) == HISTORY_COLUMNS
    plain = fit.fit(
        replace(preset, sharpness_radius=0.0, sharpness_share=0.0), sample, tmp_path / "plain"
    )
    assert not same_weights(whole, plain)
    with monkeypatch.context() as patch:
        patch.setattr(fit, "SAVE_SECONDS", 0.0)  # after each step
        patch.setattr(Run, "save", interrupted_save(BREAK, lambda *_: None))
        with pytest.raises(KeyboardInterrupt):
            fit.fit(preset, sample, tmp_path / "cut")
    assert same_weights(whole, fit.fit(preset, sample, tmp_path / "cut", resume=True))


def test_checkpoint_is_usable_before_the_first_epoch_ends(
    tmp_path: Path,
    preset: Preset,
    sample: DataSet,
    monkeypatch: pytest.MonkeyPatch,
    whole: keras.Model,
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit, "_train_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            fit.fit(preset, sample, tmp_path)
    assert same_weights(whole, fit.fit(preset, sample, tmp_path, resume=True))
    assert len(Run(tmp_path).read_history()) == preset.epochs


def test_run_is_not_overwritten(trained: Run, sample: DataSet) -> None:
    preset = trained.read_settings().preset
    with pytest.raises(TrainingError, match="holds a run already"):
        fit.fit(preset, sample, trained.folder)
    with pytest.raises(TrainingError, match="with another preset, seed"):
        fit.fit(replace(preset, epochs=9), sample, trained.folder, seed=5, resume=True)


@pytest.mark.parametrize(
    "change", [{"precision": "float64"}, {"devices": 2}], ids=["precision", "devices"]
)
def test_run_is_not_resumed_with_another_precision_or_number_of_devices(
    trained: Run, sample: DataSet, preset: Preset, tmp_path: Path, change: dict[str, object]
) -> None:
    run = Run(Path(shutil.copytree(trained.folder, tmp_path / "run")))
    settings = run.read_settings()
    origin = settings.origin.model_copy(update=change)
    run.write_settings(settings.model_copy(update={"origin": origin}))
    with pytest.raises(TrainingError, match=f"was started with another {next(iter(change))}$"):
        fit.fit(preset, sample, run.folder, resume=True)


def test_operations_run_in_a_fixed_order_without_a_gpu(
    trained: Run, sample: DataSet, preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(
        "tensorflow.config.experimental.enable_op_determinism", lambda: calls.append("fixed")
    )
    monkeypatch.setattr(backend, "accelerators", list)
    for gpus in ([], ["a GPU"]):
        monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda _, found=gpus: found)
        with pytest.raises(TrainingError, match="holds a run already"):
            fit.fit(preset, sample, trained.folder)
    assert calls == ["fixed"]


def test_history_has_a_row_for_each_epoch(trained: Run, preset: Preset) -> None:
    history = trained.read_history()
    assert list(history.columns) == HISTORY_COLUMNS
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["learning_rate"].iloc[-1] < preset.learning_rate


def test_missing_teacher_is_an_error_that_says_how_to_train_it(
    tmp_path: Path, preset: Preset, sample: DataSet
) -> None:
    student = replace(preset, name="student", teacher="small")
    with pytest.raises(TrainingError, match=r"fit .*small-seed3 --preset small --seed 3"):
        fit.fit(student, sample, tmp_path / "student-seed3", seed=3)


def test_student_learns_from_its_teacher(
    tmp_path: Path, preset: Preset, sample: DataSet, trained: Run
) -> None:
    shutil.copytree(trained.folder, tmp_path / "small-seed0")
    student = replace(preset, name="student", teacher="small", epochs=1)
    model = fit.fit(student, sample, tmp_path / "student-seed0")
    alone = replace(student, teacher=None)
    assert not same_weights(model, fit.fit(alone, sample, tmp_path / "other"))
