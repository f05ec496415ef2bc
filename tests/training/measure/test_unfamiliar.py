from pathlib import Path

import numpy as np
import pytest

from training.measure import unfamiliar
from training.measure.unfamiliar_pictures import kinds
from training.presets import ResizeRule

BASELINE = Path(__file__).parents[3] / "models" / "cifar10" / "1" / "model.onnx"


def test_figures_of_a_hand_made_case() -> None:
    familiar = {"validation": np.array([3, 4], np.float32), "test": np.array([0.5], np.float32)}
    strange = {"a": np.array([1, 2], np.float32), "b": np.array([3.5, 0], np.float32)}
    assert unfamiliar.figures(familiar, strange, threshold=1.5).to_json() == {
        "pictures": 4,
        "auroc": {"validation": 0.875, "test": 0.25},
        "under_threshold": 0.5,
        "per_kind": {
            "a": {"pictures": 2, "under_threshold": 0.5, "auroc": {"validation": 1, "test": 0}},
            "b": {
                "pictures": 2, "under_threshold": 0.5, "auroc": {"validation": 0.75, "test": 0.5},
            },
        },
    }  # fmt: skip


def test_pictures_go_through_the_resize_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfamiliar, "PICTURES", 5)
    rules = (ResizeRule("stretch"), ResizeRule("crop"), ResizeRule("stretch"))
    stretched, cropped, again = (unfamiliar.energies(BASELINE, 32, rule) for rule in rules)
    assert list(stretched) == list(kinds.KINDS)
    assert {len(energy) for energy in stretched.values()} == {5}
    assert stretched["photographs"].tolist() != cropped["photographs"].tolist()
    for kind, energy in stretched.items():
        assert energy.tolist() == again[kind].tolist()
