import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from training.presets import DEFAULT, PRESETS, ArticleNetwork, Preset, preset_from_json
from training.publish.card import Card

SHIPPED = sorted((Path(__file__).parents[2] / "models").glob("*/*/card.json"))


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_preset_survives_json(preset: Preset) -> None:
    assert preset_from_json(json.loads(json.dumps(preset.to_json()))) == preset


@pytest.mark.parametrize("change", [{"optimiser": "adam"}, {"network": {"kind": "Perceptron"}}])
def test_unknown_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a preset of this version"):
        preset_from_json(PRESETS["default"].to_json() | change)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_preset_of_every_shipped_version_is_kept(path: Path) -> None:
    config = Card.model_validate_json(path.read_text()).training.config
    assert config in [replace(preset, name=config.name) for preset in PRESETS.values()]


def test_younger_settings_are_in_the_json_where_they_change_something() -> None:
    values = DEFAULT.to_json()
    assert values["validate_every"] == 3
    assert values["network"]["group"] == 3
    plain = replace(DEFAULT, validate_every=1).to_json()
    assert "validate_every" not in plain
    assert "validate_every" not in PRESETS["baseline"].to_json()


def test_last_epochs_have_sharpness_aware_steps() -> None:
    preset = replace(DEFAULT, epochs=4, sharpness_radius=0.3, sharpness_share=0.5)
    assert [preset.sharpness_radius_in(epoch) for epoch in range(4)] == [0, 0, 0.3, 0.3]


@pytest.mark.parametrize(
    "change",
    [
        {"sharpness_radius": 0.0},
        {"sharpness_share": 0.0},
        {"sharpness_share": 1.5},
        {"network": ArticleNetwork()},
    ],
    ids=["radius", "share", "no share", "network"],
)
def test_sharpness_aware_steps_that_make_no_sense_are_refused(
    change: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match="sharpness"):
        replace(DEFAULT, **change)
