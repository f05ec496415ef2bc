"""Batch normalisation in one operation of TensorFlow."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("cifar10-serve")
class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalisation of feature maps (batch, height, width, channels), fused in training.

    Keras' own layer casts to float32 and takes several operations forward and backward. Here
    TensorFlow's one reads and writes the precision of the network, and sums in float32 too. On
    other backends, and outside of training, this is Keras' own.
    """

    def call(
        self,
        inputs: keras.KerasTensor,
        training: bool | None = None,
        mask: None = None,
    ) -> keras.KerasTensor:
        """Normalise a batch; in training by its own statistics, which the moving ones follow."""
        if not training or not self.trainable or keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        channels = (inputs.shape[-1],)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            self.gamma if self.scale else tf.ones(channels),
            self.beta if self.center else tf.zeros(channels),
            epsilon=self.epsilon,
        )
        # TensorFlow returns the variance of the population that the batch is a sample of; Keras
        # keeps that of the batch.
        size = tf.cast(tf.size(inputs) // channels[0], tf.float32)
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance * (size - 1) / size)
        return outputs

    def _follow(self, moving: keras.Variable, value: Any) -> None:  # noqa: ANN401
        moving.assign(moving * self.momentum + value * (1 - self.momentum))
