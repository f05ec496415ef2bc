import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import tensorflow as tf

from training import environment
from training.data.dataset import DataSet
from training.presets import ArticleNetwork, Preset
from training.study import bench
from training.study.bench import Bench
from training.train import untrained
from training.train.feed import Batches

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True, scope="module")
def brief() -> Iterator[None]:
    """Measure for moments: what is tested is what is measured, not the figures."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PART_SECONDS", "LAYER_SECONDS"):
            patch.setattr(bench, name, 0.01)
        yield


@pytest.fixture(scope="module")
def preset(preset: Preset) -> Preset:
    """One layer of each kind, since each is compiled several times."""
    return replace(preset, network=ArticleNetwork(widths=(8,), depth=1, dense=16))


@pytest.fixture(scope="module")
def result(preset: Preset, sample: DataSet) -> Bench:
    return bench.bench(preset, sample, seconds=0.1)


def test_each_part_takes_time(result: Bench) -> None:
    assert list(result.parts) == ["forward", "backward", "optimizer", "the rest"]
    assert min(result.parts["forward"], result.parts["optimizer"], result.making) > 0
    assert len(result.loop) >= bench.LEAST_STEPS
    assert (result.loop["waiting"] < result.loop["step"]).all()


def test_waiting_for_slow_data_is_seen(
    preset: Preset, sample: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Batches.__getitem__

    def slow(batches: Batches, step: int) -> object:
        time.sleep(0.5)
        return quick(batches, step)

    monkeypatch.setattr(Batches, "__getitem__", slow)
    steps = bench._loop(
        untrained.new_model(preset, sample, 0),
        lambda epoch: Batches(preset, sample.train, len(sample.classes), 0, epoch),
        seconds=0.1,
    )
    assert steps["waiting"].max() > 250


def test_every_layer_is_measured_in_both_precisions(result: Bench) -> None:
    kinds = {name.rstrip("_0123456789") for name in result.layers.index}
    assert {"conv2d", "batch_normalization", "max_pooling2d", "dense", "logits"} <= kinds
    assert (result.layers[["float32", "mixed_bfloat16"]] > 0).all(axis=None)
    assert result.layers["used"].iloc[0] == environment.dtype_policy()


def test_text_names_machine_and_versions(preset: Preset, result: Bench) -> None:
    lines = bench.text(result).splitlines()
    assert lines[0] == f"{preset.name}: 32 pictures a step, in {environment.dtype_policy()}"
    assert lines[1].startswith(environment.hardware())
    assert f"tensorflow {tf.__version__}" in lines[2]


def test_calls_alternate() -> None:
    order: list[str] = []
    times = bench._milliseconds(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, seconds=0
    )
    assert order == ["a", "b"] * 4
    assert set(times) == {"a", "b"}
