import time
from dataclasses import replace

import pytest

from training.data.dataset import DataSet
from training.presets import ArticleNetwork, Preset, WhitenedNetwork
from training.study import throughput
from training.train.feed import Batches

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def quick(preset: Preset) -> Preset:
    return replace(preset, network=ArticleNetwork(widths=(8,), depth=1, dense=16))


@pytest.mark.parametrize("on_device", [False, True], ids=["processor", "device"])
def test_shares_of_a_step_are_measured(quick: Preset, sample: DataSet, on_device: bool) -> None:
    result = throughput.measure(replace(quick, on_device=on_device), sample, seconds=0.1)
    assert result.pictures == 32
    assert min(result.step, result.computing, result.making) > 0
    assert result.minutes == pytest.approx(result.step * 3 * quick.epochs / 60_000)
    assert "ms of it computing" in result.text()


def test_sharpness_aware_epochs_are_measured_apart(preset: Preset, sample: DataSet) -> None:
    network = WhitenedNetwork(widths=(4,), group=1)
    sharp = replace(preset, network=network, epochs=4, sharpness_radius=0.1, sharpness_share=0.25)
    result = throughput.measure(sharp, sample, seconds=0.1)
    assert result.sharp_step > 0
    assert result.minutes == pytest.approx(3 * (3 * result.step + result.sharp_step) / 60_000)
    assert f"{result.sharp_step:,.1f} ms a sharpness-aware step" in result.text()


def test_time_for_slow_data_is_not_computing(
    quick: Preset, sample: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Batches.__getitem__

    def slow(batches: Batches, step: int) -> object:
        time.sleep(1)
        return real(batches, step)

    monkeypatch.setattr(Batches, "__getitem__", slow)
    result = throughput.measure(quick, sample, seconds=0.1)
    assert result.making > 1000
    assert result.step > 750
    assert result.computing < 500
