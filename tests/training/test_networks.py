from dataclasses import replace

import numpy as np
import pytest

from training import networks
from training.ablate import VARIANTS
from training.config import BASELINE, Preset, preset_from_json

MEAN, VARIANCE = np.full(3, 120.0), np.full(3, 60.0**2)


def test_baseline_is_sequential_with_stages_that_end_in_dense() -> None:
    model = networks.build(BASELINE, 10, mean=MEAN, variance=VARIANCE)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert type(model).__name__ == "Sequential"
    assert kinds.count("Conv2D") == 6
    assert kinds.count("MaxPooling2D") == 3
    assert kinds[-4:] == ["Flatten", "Dense", "Dropout", "Dense"]
    assert model(np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 10)
    assert model.count_params() == 551_914


def test_normalisation_is_inside() -> None:
    model = networks.build(BASELINE, 10, mean=MEAN, variance=VARIANCE)
    normalised = model.layers[0](np.array([[[[120, 180, 60]]]], np.uint8))
    np.testing.assert_allclose(np.asarray(normalised), [[[[0, 1, -1]]]], atol=1e-6)


@pytest.mark.parametrize("preset", VARIANTS.values(), ids=VARIANTS.keys())
def test_variant_gives_logits(preset: Preset) -> None:
    small = replace(preset, widths=(4, 4), dense=4, image_size=8)
    model = networks.build(small, 3, mean=MEAN, variance=VARIANCE)
    assert model(np.zeros((2, 8, 8, 3), np.uint8)).shape == (2, 3)


def test_variants_differ_from_the_baseline() -> None:
    presets = list(VARIANTS.values())
    assert len(set(presets)) == len(presets)


def test_preset_survives_json() -> None:
    assert preset_from_json(BASELINE.to_json()) == BASELINE
