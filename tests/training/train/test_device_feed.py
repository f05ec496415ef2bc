from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from training.data.dataset import DataSet
from training.presets import DEFAULT, Augmentation, Preset
from training.train import network
from training.train.device_feed import source
from training.train.feed import Batches, Steps
from training.train.parallel import Share
from training.train.teaching import Teacher

PLAIN = Augmentation(flip="alternating", shift=0)


@pytest.fixture
def on_device(preset: Preset) -> Preset:
    return replace(preset, on_device=True, augmentation=replace(DEFAULT.augmentation))


def arrays(steps: Steps, step: int) -> list[np.ndarray]:
    return [ops.convert_to_numpy(part) for part in steps[step]]


def test_steps_without_changes_are_those_of_the_processor(preset: Preset, sample: DataSet) -> None:
    plain = replace(preset, augmentation=PLAIN, label_smoothing=0.2)
    make = source(replace(plain, on_device=True), sample.train, 10, 0)
    for epoch in (0, 1):
        expected, steps = Batches(plain, sample.train, 10, 0, epoch), make(epoch, 0)
        assert len(steps) == len(expected) == 3
        for step in range(3):
            for found, wanted in zip(arrays(steps, step), arrays(expected, step), strict=True):
                assert found.dtype == wanted.dtype
                np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_epochs_differ_and_can_be_made_again_from_any_step(
    on_device: Preset, sample: DataSet
) -> None:
    make = source(on_device, sample.train, 10, 0)
    images, targets = arrays(make(0, 0), 2)
    assert images.shape == (33, 32, 32, 3)
    assert targets.shape == (33, 10)
    np.testing.assert_allclose(targets[32:], 0.1)
    again = source(on_device, sample.train, 10, 0)(0, 2)
    assert len(again) == 1
    np.testing.assert_array_equal(arrays(again, 0)[0], images)
    assert not np.array_equal(arrays(make(1, 0), 2)[0], images)


def test_pictures_grow(on_device: Preset, sample: DataSet) -> None:
    make = source(replace(on_device, growth=(0.5,), epochs=2), sample.train, 10, 0)
    sizes = [arrays(make(epoch, 0), 0)[0].shape[1:3] for epoch in (0, 1)]
    assert sizes == [(16, 16), (32, 32)]


def test_teacher_gives_the_targets_of_the_pictures_as_changed(
    on_device: Preset, sample: DataSet
) -> None:
    model = network.build(on_device, 10, mean=np.full(3, 120.0), variance=np.full(3, 3600.0))
    images, targets = arrays(source(on_device, sample.train, 10, 0, Teacher(model))(0, 0), 0)
    expected = ops.softmax(model.predict(images[:32], verbose=0))
    np.testing.assert_allclose(targets[:32], expected, atol=1e-5)
    np.testing.assert_allclose(targets[32:], 0.1)


@pytest.mark.parametrize("kind", [True, False], ids=["device", "processor"])
def test_processes_share_each_batch(preset: Preset, sample: DataSet, kind: bool) -> None:
    how = replace(DEFAULT.augmentation, outliers=1 / 16)
    shared = replace(preset, augmentation=how, on_device=kind)
    whole = arrays(source(shared, sample.train, 10, 0)(0, 0), 1)
    parts = [
        arrays(source(shared, sample.train, 10, 0, None, Share(index, 2))(0, 0), 1)
        for index in (0, 1)
    ]
    for position, rows in enumerate(whole):
        pictures = np.concatenate([part[position][:16] for part in parts])
        made = np.concatenate([part[position][16:] for part in parts])
        np.testing.assert_array_equal(np.concatenate([pictures, made]), rows)
