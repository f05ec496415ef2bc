import json
from pathlib import Path

import onnx
import pytest

from training.data.dataset import DataFacts, DataSet
from training.export import closer_look, to_onnx
from training.measure.closer_look import CloserLook
from training.presets import BASELINE, DEFAULT, Preset
from training.train.checkpoint import Run


@pytest.mark.parametrize(
    ("preset", "source", "rule"),
    [
        (DEFAULT, "Kaggle CSV", CloserLook()),
        (DEFAULT, "class folders", None),
        (BASELINE, "Kaggle CSV", None),
    ],
    ids=["enlarged", "perhaps large", "never enlarged"],
)
def test_networks_that_saw_enlarged_small_pictures_have_the_rule(
    preset: Preset, source: str, rule: CloserLook | None
) -> None:
    facts = DataFacts(source=source, fingerprint="0", train=1, validation=1)
    assert closer_look.choose(preset, facts) == rule


@pytest.mark.parametrize("rule", [CloserLook(), None], ids=["rule", "none"])
def test_rule_is_in_the_metadata_of_the_file(
    trained: Run,
    sample: DataSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rule: CloserLook | None,
) -> None:
    monkeypatch.setattr(closer_look, "choose", lambda *_: rule)
    path = tmp_path / "model.onnx"
    to_onnx.export(trained, sample.validation, path, name="small", version=1)
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    found = metadata.get("closer_look")
    assert (found and json.loads(found)) == (rule and rule.to_json())
