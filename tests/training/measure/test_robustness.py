from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import pictures
from training.data.dataset import Split
from training.measure import robustness
from training.measure.robustness import StrengthAccuracy

BASELINE = Path(__file__).parents[3] / "models" / "cifar10" / "1" / "model.onnx"
IMAGES, LABELS = pictures("test")
STRENGTHS = range(1, 6)


def distances(change: str) -> list[float]:
    copies = [robustness.changed(IMAGES, change, strength) for strength in STRENGTHS]
    return [float(np.abs(copy.astype(int) - IMAGES).mean()) for copy in copies]


@pytest.mark.parametrize("change", robustness.CHANGES)
def test_every_strength_changes_more_than_the_one_before(change: str) -> None:
    found = distances(change)
    assert found[0] > 0
    assert found == sorted(found)


def test_lower_quality_changes_more() -> None:
    found = [
        float(np.abs(robustness.encoded(IMAGES, quality).astype(int) - IMAGES).mean())
        for quality in robustness.QUALITIES
    ]
    assert 0 < found[0] < found[1] < found[2]


def test_brightness_keeps_hue_and_saturation() -> None:
    picture = np.full((1, 8, 8, 3), (100, 75, 25), np.uint8)
    brighter, darker = (robustness.changed(picture, name, 4) for name in ("brighter", "darker"))
    # The greatest channel goes up or down by 0.2 * 255, and the others in proportion.
    assert brighter[0, 0, 0].tolist() == [151, 113, 38]
    assert darker[0, 0, 0].tolist() == [49, 37, 12]


def test_black_becomes_grey() -> None:
    black = np.zeros((1, 8, 8, 3), np.uint8)
    assert set(robustness.changed(black, "brighter", 4).flat) == {51}


def test_contrast_keeps_the_mean() -> None:
    picture = np.zeros((1, 2, 2, 3), np.uint8)
    picture[0, 0] = 200
    assert set(robustness.changed(picture, "less_contrast", 2).flat) == {50, 150}
    assert set(robustness.changed(picture, "more_contrast", 1).flat) == {0, 233}


def test_noise_has_the_deviation_that_it_says() -> None:
    grey = np.full((4, 32, 32, 3), 128, np.uint8)
    assert robustness.changed(grey, "noise", 5).std() == pytest.approx(0.1 * 255, rel=0.03)


def test_blur_leaves_a_flat_picture_alone() -> None:
    grey = np.full((1, 8, 8, 3), 77, np.uint8)
    np.testing.assert_array_equal(robustness.changed(grey, "blur", 5), grey)


def test_every_change_is_measured_and_few_of_the_slow_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(robustness, "PICTURES", 30)
    split = Split(IMAGES, np.array(LABELS))
    rows = robustness.measure(BASELINE, split)
    assert rows == robustness.measure(BASELINE, split)
    assert len(rows) == len(robustness.QUALITIES) + 5 * len(robustness.CHANGES)
    assert {row.pictures for row in rows if row.change == "jpeg"} == {40}
    assert {row.pictures for row in rows if row.change != "jpeg"} == {30}
    by_name = {(row.change, row.strength): row.accuracy for row in rows}
    assert by_name["less_contrast", 5] < by_name["less_contrast", 1]
    assert by_name["less_contrast", 5] < rows[0].unchanged


def test_card_holds_the_mean_over_strengths() -> None:
    rows = [
        StrengthAccuracy(
            change=change, strength=strength, pictures=10, unchanged=1.0, accuracy=accuracy
        )
        for change, strength, accuracy in (
            ("jpeg", 90, 0.9),
            ("jpeg", 40, 0.5),
            ("blur", 1, 0.8),
            ("blur", 2, 0.4),
        )
    ]
    means = robustness.means(rows)
    assert {change: row.accuracy for change, row in means.items()} == {
        "jpeg_90": 0.9,
        "jpeg_40": 0.5,
        "blur": pytest.approx(0.6),
    }
    assert {(row.pictures, row.unchanged) for row in means.values()} == {(10, 1.0)}
