from dataclasses import replace

import numpy as np
from scipy.special import softmax

from training.data.dataset import DataSet
from training.presets import Augmentation, Preset
from training.train import network
from training.train.feed import Batches, feed
from training.train.teaching import Teacher


def test_steps_of_an_epoch_are_whole_and_new_in_every_epoch(
    preset: Preset, sample: DataSet
) -> None:
    first, second = (Batches(preset, sample.train, 10, 0, epoch) for epoch in (0, 1))
    assert len(first) == 3
    assert {first[step][0].shape for step in range(3)} == {(32, 32, 32, 3)}
    assert not np.array_equal(first[0][1], second[0][1])


def test_alternating_flip_shows_each_picture_both_ways(preset: Preset, sample: DataSet) -> None:
    plain = Augmentation(flip="alternating", shift=0)
    how = replace(preset, augmentation=plain, batch_size=len(sample.train))
    seen = []
    for epoch in (0, 1):
        images, _ = Batches(how, sample.train, 10, 0, epoch)[0]
        seen.append({image.tobytes() for image in images})
    both = {image.tobytes() for image in sample.train.images}
    both |= {image[:, ::-1].tobytes() for image in sample.train.images}
    assert seen[0] | seen[1] == both
    assert not seen[0] & seen[1]


def test_targets_are_smoothed(preset: Preset, sample: DataSet) -> None:
    _, targets = Batches(replace(preset, label_smoothing=0.2), sample.train, 10, 0, 0)[0]
    np.testing.assert_allclose(np.sort(targets, axis=1)[:, -2:], [[0.02, 0.82]] * 32, rtol=1e-6)


def test_teacher_gives_the_targets_of_pictures_but_not_of_outliers(
    preset: Preset, sample: DataSet
) -> None:
    how = replace(preset, augmentation=replace(preset.augmentation, outliers=0.25))
    teacher = network.build(preset, 10, mean=np.full(3, 120.0), variance=np.full(3, 3600.0))
    images, targets = Batches(how, sample.train, 10, 0, 0, Teacher(teacher))[0]
    assert images.shape == (40, 32, 32, 3)
    expected = softmax(teacher.predict(images[:32], verbose=0), axis=1)
    np.testing.assert_allclose(targets[:32], expected, atol=1e-5)
    np.testing.assert_allclose(targets[32:], 0.1)


def test_keras_is_fed_every_step_by_a_pipeline_that_does_not_tune_itself(
    preset: Preset, sample: DataSet
) -> None:
    batches = Batches(preset, sample.train, 10, 0, 0)
    fed = feed(batches)
    assert fed.options().autotune.enabled is False
    assert len(fed) == len(batches) > 1
    for step, (images, targets) in enumerate(fed):
        np.testing.assert_array_equal(images, batches[step][0])
        np.testing.assert_array_equal(targets, batches[step][1])
