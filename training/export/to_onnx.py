"""Converts a trained Keras network into `model.onnx`."""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import onnx
from keras import ops

from training.data.dataset import Split
from training.export import closer_look, outputs
from training.export.calibration import Floats
from training.export.outputs import Fitted
from training.train import network
from training.train.checkpoint import Run

OPSET = 18  # the highest that tf2onnx writes
BATCH = 500


def load_float32(run: Run) -> keras.Model:
    """The network of a run in float32, whatever precision it was trained in.

    Raises:
        TrainingError: the folder holds no run.
    """
    settings = run.read_settings()
    trained = keras.saving.load_model(run.checkpoint, compile=False)
    normalization = _normalization(trained)
    model = network.build(
        settings.preset,
        len(settings.classes),
        mean=ops.convert_to_numpy(normalization.mean).reshape(-1),
        variance=ops.convert_to_numpy(normalization.variance).reshape(-1),
        for_inference=True,
    )
    model.set_weights(trained.get_weights())
    fold_normalization(model)
    centre_logits(model)
    return model


def centre_logits(model: keras.Model) -> None:
    """Make the logits of each picture sum to zero, which changes no probability.

    Training determines only their differences. A common offset would add noise to the energy.
    """
    layer = model.get_layer("logits")
    layer.set_weights([w - w.mean(axis=-1, keepdims=True) for w in layer.get_weights()])


def fold_normalization(model: keras.Model) -> None:
    """Make the normalisation constant, and fold it into a whitening convolution.

    The whitening has no padding, so it gives the same results on raw pixels with other weights.
    Other first convolutions are padded with zeros, which stand for the mean colour; there the
    normalisation stays a layer of its own.
    """
    normalization = _normalization(model)
    mean, variance = (ops.convert_to_numpy(x) for x in (normalization.mean, normalization.variance))
    if "whitening" in [layer.name for layer in model.layers]:
        whitening = model.get_layer("whitening")
        kernel = ops.convert_to_numpy(whitening.kernel) / np.sqrt(variance).reshape(-1, 1)
        shift = mean.reshape(-1) @ kernel.sum(axis=(0, 1))
        whitening.kernel.assign(kernel)
        whitening.bias.assign(ops.convert_to_numpy(whitening.bias) - shift)
        mean, variance = np.zeros(()), np.ones(())  # ONNX Runtime removes these scalars
    # NumPy arrays become constants of the graph, tensors would become further inputs.
    normalization.mean, normalization.variance = mean, variance


def _normalization(model: keras.Model) -> keras.layers.Normalization:
    return next(x for x in model.layers if isinstance(x, keras.layers.Normalization))


def logits(model: keras.Model, images: npt.NDArray[np.uint8]) -> Floats:
    """Logits (N, classes) of uint8 pictures (N, size, size, 3)."""
    return np.asarray(model.predict(images, batch_size=BATCH, verbose=0), np.float32)


def export(run: Run, validation: Split, path: Path, *, name: str, version: int) -> Fitted:
    """Write the network of a run as an ONNX file.

    The input is `image`, uint8 (batch, size, size, 3). The outputs are `probabilities`, float32
    (batch, classes), calibrated, and `energy`, float32 (batch,), the logsumexp of the logits.
    Name, version, labels, resize rule, energy threshold and the rule of closer looks are in the
    metadata of the file.

    Args:
        run: the finished run.
        validation: the split that calibration and threshold are fitted on.
        path: the file to write.
        name: of the model.
        version: of the model.

    Raises:
        TrainingError: the folder holds no run.
    """
    settings = run.read_settings()
    preset = settings.preset
    proto = onnx.load_from_string(_in_tensorflow(run))
    outputs.attach(proto, len(settings.classes))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, path)
    properties = {
        "name": name,
        "version": str(version),
        "labels": json.dumps(settings.classes),
        "resize": json.dumps({"mode": preset.resize.mode, "filter": preset.resize.filter}),
    }
    if look := closer_look.choose(preset, settings.data):
        properties["closer_look"] = json.dumps(look.to_json())
    return outputs.fit(path, validation, properties)


def _in_tensorflow(run: Run) -> bytes:
    """The graph of a run, made by a process with TensorFlow where Keras has another backend."""
    if keras.backend.backend() == "tensorflow":
        return _graph(run)
    # A new process reads the name of the backend where it imports this module.
    own = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(_graph, run).result()
    finally:
        os.environ.pop("KERAS_BACKEND")
        if own is not None:
            os.environ["KERAS_BACKEND"] = own


def _graph(run: Run) -> bytes:
    """The network of a run as a serialised ONNX graph with the output `logits`."""
    import tensorflow as tf
    import tf2onnx

    model, size = load_float32(run), run.read_settings().preset.image_size
    signature = [tf.TensorSpec((None, size, size, 3), tf.uint8, name="image")]

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def graph(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {outputs.LOGITS: model(image, training=False)}

    proto, _ = tf2onnx.convert.from_function(graph, input_signature=signature, opset=OPSET)
    for value in [*proto.graph.input, *proto.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    written: bytes = proto.SerializeToString()
    return written
