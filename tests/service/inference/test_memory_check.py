"""A model that does not fit into memory is refused before it is loaded."""

from pathlib import Path

import pytest

from service.errors import ModelRefusedError
from service.inference.served_model import LOAD_ALL, Change
from service.inference.snapshot_builder import build_snapshot
from service.settings import Settings
from tests.service.models import write_model


def test_model_that_does_not_fit_is_refused_with_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (write_model(tmp_path) / "model.onnx").stat().st_size
    settings = Settings(models=tmp_path, model="tiny", provider="cpu", workers=4)
    # Four workers load it, at three times its size, and share the file.
    monkeypatch.setattr("service.inference.memory_check.available_memory", lambda: 13 * size)
    before = build_snapshot(settings, LOAD_ALL)
    monkeypatch.setattr("service.inference.memory_check.available_memory", lambda: 13 * size - 1)
    with pytest.raises(ModelRefusedError, match=r"need 0 MB of memory .* by 4 workers, and there"):
        build_snapshot(settings, LOAD_ALL)
    # What has not changed is not loaded again.
    again = build_snapshot(settings, LOAD_ALL, before)
    assert again.loaded == before.loaded


def test_present_models_count_and_stay_when_the_next_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (write_model(tmp_path) / "model.onnx").stat().st_size
    settings = Settings(models=tmp_path, model="tiny", provider="cpu", workers=1)
    monkeypatch.setattr("service.inference.memory_check.available_memory", lambda: 5 * size)
    before = build_snapshot(settings, LOAD_ALL)
    write_model(tmp_path, version=2)
    after = build_snapshot(settings, Change(frozenset(["tiny"])), before)
    assert after.loaded == before.loaded
    assert "does not fit" in after.failures["tiny"]
