import keras
import numpy as np
import pytest
import tensorflow as tf

from training.train.normalization import FusedBatchNormalization

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(3, 2, (8, 5, 6, 4)).astype(np.float32)
ABOVE = RNG.normal(0, 1, INPUTS.shape).astype(np.float32)


def both(scale: bool, precision: str) -> list[keras.layers.BatchNormalization]:
    """Keras' own layer and the fused one, with equal weights."""
    made = [
        kind(momentum=0.8, scale=scale, dtype=precision)
        for kind in (keras.layers.BatchNormalization, FusedBatchNormalization)
    ]
    for layer in made:
        layer.build(INPUTS.shape)
    weights = [RNG.uniform(0.5, 1.5, w.shape).astype(np.float32) for w in made[0].get_weights()]
    for layer in made:
        layer.set_weights(weights)
    return made


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize(("precision", "within"), [("float32", 1e-5), ("mixed_bfloat16", 0.05)])
def test_outputs_gradients_and_moving_statistics_are_those_of_keras(
    scale: bool, precision: str, within: float
) -> None:
    found = []
    for layer in both(scale, precision):
        x = tf.constant(INPUTS)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(tf.cast(y, tf.float32) * ABOVE)
        gradients = tape.gradient(loss, [x, *layer.trainable_variables])
        found.append([y, *gradients, *layer.get_weights()])
    for own, expected in zip(found[1], found[0], strict=True):
        assert own.dtype == expected.dtype
        np.testing.assert_allclose(
            tf.cast(own, tf.float32), tf.cast(expected, tf.float32), rtol=within, atol=within
        )


def test_outside_of_training_the_moving_statistics_are_used() -> None:
    own, fused = both(scale=False, precision="float32")
    np.testing.assert_array_equal(fused(INPUTS, training=False), own(INPUTS, training=False))


def test_layer_survives_a_checkpoint() -> None:
    layer = FusedBatchNormalization(momentum=0.7, scale=False)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(again) is FusedBatchNormalization
    assert again.get_config() == layer.get_config()
