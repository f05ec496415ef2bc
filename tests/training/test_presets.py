import json

import pytest

from training.presets import PRESETS, Preset, preset_from_json


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_preset_survives_json(preset: Preset) -> None:
    assert preset_from_json(json.loads(json.dumps(preset.to_json()))) == preset


@pytest.mark.parametrize("change", [{"optimiser": "adam"}, {"network": {"kind": "Perceptron"}}])
def test_unknown_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a preset of this version"):
        preset_from_json(PRESETS["default"].to_json() | change)
