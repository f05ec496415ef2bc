"""What a file has of its own, fitted to its answers for many validation pictures."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from training.data.dataset import DataSet, Split
from training.export import calibration, label_sets_fit, outputs, second_view_fit
from training.measure.second_view import SecondView
from training.publish import artifact
from training.train.checkpoint import Run

RULE = SecondView(below=0.9, temperature=0.8)
FOREIGN = {"labels": "[]", "second_view": "of another file", "label_sets": "of another file"}


@pytest.fixture
def model(trained: Run, tmp_path: Path) -> Path:
    return Path(shutil.copy(artifact.of_run(trained.folder).model, tmp_path))


@pytest.fixture
def many(sample: DataSet) -> Split:
    """1,080 noisy copies of the training pictures."""
    rng = np.random.default_rng(0)
    images = np.repeat(sample.train.images, 10, axis=0)
    noisy = (images + rng.normal(0, 20, images.shape)).clip(0, 255).astype(np.uint8)
    return Split(noisy, np.repeat(sample.train.labels, 10))


def metadata(model: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(model).metadata_props}


def test_rule_and_label_sets_are_in_the_file(
    model: Path, many: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_view_fit, "fit", lambda *_: RULE)
    fitted = outputs.fit(model, many, FOREIGN)
    found = metadata(model)
    assert json.loads(found["second_view"]) == RULE.to_json()
    assert fitted.label_sets is not None
    assert {float(key): tuple(value) for key, value in json.loads(found["label_sets"]).items()} == (
        fitted.label_sets
    )
    assert found["labels"] == "[]"


def test_label_sets_are_of_pictures_that_the_calibration_has_not_seen(
    model: Path, many: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_view_fit, "fit", lambda *_: None)
    fitted = outputs.fit(model, many, {})
    seen, unseen = label_sets_fit.halves(many.labels)
    scores = outputs.logits(model, many.images)
    own = calibration.fit(scores[seen], many.labels[seen])
    assert fitted.calibration.temperature == pytest.approx(own.temperature)
    assert fitted.calibration.certainty == (len(seen) + 1) / (len(seen) + 2)
    probabilities = own.apply(scores[unseen])
    expected = label_sets_fit.fit(probabilities, many.labels[unseen])
    assert expected is not None
    assert fitted.label_sets is not None
    assert list(fitted.label_sets) == list(expected)
    np.testing.assert_allclose(fitted.label_sets[0.9], expected[0.9], rtol=1e-5)


def test_few_pictures_have_neither_and_inherit_none(model: Path, sample: DataSet) -> None:
    fitted = outputs.fit(model, sample.validation, FOREIGN)
    assert (fitted.second_view, fitted.label_sets) == (None, None)
    assert set(metadata(model)) == {"labels", "energy_threshold"}
