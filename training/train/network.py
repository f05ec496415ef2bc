"""The Keras networks: from uint8 pictures to logits, with the normalisation inside."""

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from training.presets import ArticleNetwork, Preset, WhitenedNetwork
from training.train.normalization import FusedBatchNormalization
from training.train.sharpness import SharpnessAwareModel

WHITENING_WIDTH = 2 * 2 * 2 * 3  # each direction of a 2x2 patch of RGB, and its negative
WHITENING_PICTURES = 5_000
WHITENING_EPSILON = 5e-4  # limits the gain in directions in which patches hardly differ
LOGIT_SCALE = 1 / 9  # keeps the initial logits small, as in airbench


def build(
    preset: Preset,
    classes: int,
    *,
    mean: np.ndarray,
    variance: np.ndarray,
    momentum: float = 0.99,
    policy: str = "float32",
    for_inference: bool = False,
) -> keras.Model:
    """The network of a preset, with fresh weights.

    Args:
        preset: the settings.
        classes: number of logits.
        mean: of the training split for each channel, shape (3,), in 0..255.
        variance: of the training split for each channel, shape (3,).
        momentum: of the moving statistics of batch normalisation.
        policy: Keras dtype policy; the normalisation and the logits stay in float32.
        for_inference: order the layers so that batch normalisation can be folded into the
            convolutions; the weights and the answers are the same.

    Returns:
        A model from uint8 (batch, size, size, 3) to float32 (batch, classes). A network for
        training on growing pictures takes any size.
    """
    side = None if preset.growth and not for_inference else preset.image_size
    image = keras.Input((side, side, 3), dtype="uint8", name="image")
    normalization = layers.Normalization(mean=mean, variance=variance, dtype="float32")
    if isinstance(preset.network, ArticleNetwork):
        return _article(preset.network, image, normalization, classes, momentum, policy)
    return _whitened(preset.network, image, normalization, classes, momentum, policy, for_inference)


def initialise(model: keras.Model, images: npt.NDArray[np.uint8]) -> None:
    """Set the initial weights of a whitened network.

    The whitening decorrelates the 2x2 patches of the training pictures; the first output channels
    of each convolution copy its input (dirac initialisation).

    Args:
        model: of `build`; not changed where it has no whitening.
        images: of the training split, uint8 (N, size, size, 3).
    """
    if "whitening" not in [layer.name for layer in model.layers]:
        return
    normalization = next(x for x in model.layers if isinstance(x, layers.Normalization))
    normalised = ops.convert_to_numpy(normalization(images[:WHITENING_PICTURES]))
    patches = np.lib.stride_tricks.sliding_window_view(normalised, (2, 2), axis=(1, 2))
    rows = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, WHITENING_WIDTH // 2)
    variances, directions = np.linalg.eigh(rows.T @ rows / len(rows))
    kernel = (directions / np.sqrt(variances + WHITENING_EPSILON)).reshape(2, 2, 3, -1)
    model.get_layer("whitening").kernel.assign(np.concatenate([kernel, -kernel], axis=-1))
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D) and layer.kernel_size == (3, 3):
            kernel = ops.convert_to_numpy(layer.kernel).copy()
            kept = min(kernel.shape[2:])
            kernel[..., :kept] = 0
            kernel[1, 1, range(kept), range(kept)] = 1
            layer.kernel.assign(kernel)


def _article(
    network: ArticleNetwork,
    image: keras.KerasTensor,
    normalization: layers.Layer,
    classes: int,
    momentum: float,
    policy: str,
) -> keras.Model:
    l2 = keras.regularizers.L2(network.l2) if network.l2 else None

    def convolution(filters: int, stride: int) -> layers.Layer:
        # Without bias: the batch normalisation that follows has one.
        if network.convolution == "separable":
            return layers.SeparableConv2D(
                filters, 3, padding="same", use_bias=False, dtype=policy,
                depthwise_regularizer=l2, pointwise_regularizer=l2,
            )  # fmt: skip
        return layers.Conv2D(
            filters, 3, stride, padding="same", use_bias=False, dtype=policy, kernel_regularizer=l2
        )

    model = keras.Sequential(name="article")
    model.add(image)
    model.add(normalization)
    for filters in network.widths:
        for position in range(network.depth):
            last = position == network.depth - 1
            strided = last and network.convolution == "strided"
            model.add(convolution(filters, stride=2 if strided else 1))
            # Pooling first leaves a quarter of the work to normalisation and ReLU.
            if last and not strided:
                model.add(layers.MaxPooling2D(dtype=policy))
            model.add(layers.BatchNormalization(momentum=momentum, dtype=policy))
            model.add(layers.ReLU(dtype=policy))
        if network.dropout:
            model.add(layers.Dropout(network.dropout, dtype=policy))
    model.add(layers.Flatten(dtype=policy))
    model.add(layers.Dense(network.dense, "relu", kernel_regularizer=l2, dtype=policy))
    if network.dense_dropout:
        model.add(layers.Dropout(network.dense_dropout, dtype=policy))
    model.add(layers.Dense(classes, kernel_regularizer=l2, dtype="float32", name="logits"))
    return model


def _whitened(
    network: WhitenedNetwork,
    image: keras.KerasTensor,
    normalization: layers.Layer,
    classes: int,
    momentum: float,
    policy: str,
    for_inference: bool,
) -> keras.Model:
    fused = network.fused and not for_inference
    normalization_of_batches = FusedBatchNormalization if fused else layers.BatchNormalization

    def normalise(x: keras.KerasTensor) -> keras.KerasTensor:
        # Without a scale, which the next convolution has. So it is monotone and can change places
        # with the maximum of the pooling.
        return normalization_of_batches(momentum=momentum, scale=False, dtype=policy)(x)

    def activate(x: keras.KerasTensor) -> keras.KerasTensor:
        return layers.Activation(network.activation, dtype=policy)(x)

    # In float32: three input channels gain nothing from bfloat16.
    whitening = layers.Conv2D(WHITENING_WIDTH, 2, name="whitening", dtype="float32")
    whitening.trainable = False
    x = activate(whitening(normalization(image)))
    for stage, filters in enumerate(network.widths, start=1):
        extra = network.extra if stage == len(network.widths) else 0
        count = network.group + extra
        first = x
        for position in range(count):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, dtype=policy)(x)
            pool = position == 0
            if pool and not for_inference:  # leaves a quarter of the work to what follows
                x = layers.MaxPooling2D(dtype=policy)(x)
            x = normalise(x)
            if pool and for_inference:
                # Pool in two steps, with the same result: in a sequence of convolution, pooling and
                # SiLU, OpenVINO (2026.4, float32) applies SiLU before the pooling, as if it were
                # monotone.
                x = layers.MaxPooling2D((2, 1), dtype=policy)(x)
                x = layers.MaxPooling2D((1, 2), dtype=policy)(x)
            if network.residual and position == count - 1:
                x = layers.Add(dtype=policy)([x, first])
            x = activate(x)
            if pool:
                first = x
    if for_inference:  # exported files have a fixed size
        x = layers.Flatten(dtype="float32")(layers.MaxPooling2D(x.shape[1:3], dtype=policy)(x))
    else:
        x = layers.GlobalMaxPooling2D(dtype=policy)(x)
    x = layers.Dense(classes, use_bias=False, dtype="float32", name="logits")(x)
    return SharpnessAwareModel(image, layers.Rescaling(LOGIT_SCALE, dtype="float32")(x))
