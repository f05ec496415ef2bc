"""The Keras networks: uint8 pictures in, logits out, normalisation inside."""

import keras
import numpy as np
from keras import layers

from training.config import Preset


def build(
    preset: Preset,
    classes: int,
    *,
    mean: np.ndarray,
    variance: np.ndarray,
    momentum: float = 0.99,
    policy: str = "float32",
) -> keras.Model:
    """The network of a preset, with fresh weights.

    Args:
        preset: its shape.
        classes: number of logits.
        mean: of the training split for each channel, shape (3,), in 0..255.
        variance: of the training split for each channel, shape (3,).
        momentum: of the moving statistics of batch normalisation.
        policy: Keras dtype policy; the normalisation and the logits stay in float32.

    Returns:
        A Sequential model from uint8 (batch, size, size, 3) to float32 (batch, classes).
    """
    l2 = keras.regularizers.L2(preset.l2) if preset.l2 else None

    def convolution(filters: int, stride: int) -> layers.Layer:
        # No bias: batch normalisation follows and has its own.
        if preset.convolution == "separable":
            return layers.SeparableConv2D(
                filters, 3, padding="same", use_bias=False, dtype=policy,
                depthwise_regularizer=l2, pointwise_regularizer=l2,
            )  # fmt: skip
        return layers.Conv2D(
            filters, 3, stride, padding="same", use_bias=False, dtype=policy, kernel_regularizer=l2
        )

    model = keras.Sequential(name=preset.name)
    model.add(keras.Input((preset.image_size, preset.image_size, 3), dtype="uint8", name="image"))
    model.add(layers.Normalization(mean=mean, variance=variance, dtype="float32"))
    for filters in preset.widths:
        for position in range(preset.depth):
            last = position == preset.depth - 1
            strided = last and preset.convolution == "strided"
            model.add(convolution(filters, stride=2 if strided else 1))
            # Pooling before normalisation and ReLU leaves them a quarter of the work.
            if last and not strided:
                model.add(layers.MaxPooling2D(dtype=policy))
            model.add(layers.BatchNormalization(momentum=momentum, dtype=policy))
            model.add(layers.ReLU(dtype=policy))
        if preset.dropout:
            model.add(layers.Dropout(preset.dropout, dtype=policy))
    model.add(layers.Flatten(dtype=policy))
    model.add(layers.Dense(preset.dense, "relu", kernel_regularizer=l2, dtype=policy))
    if preset.dense_dropout:
        model.add(layers.Dropout(preset.dense_dropout, dtype=policy))
    model.add(layers.Dense(classes, kernel_regularizer=l2, dtype="float32", name="logits"))
    return model
