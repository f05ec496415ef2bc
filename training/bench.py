"""Where the time of a training step goes on this machine, and what would make it shorter."""

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import pandas as pd
import tensorflow as tf

from training import fit, machine
from training.config import PRESETS, Preset
from training.data import DataSet

LOOP_SECONDS = 20.0
WARM_UP_STEPS = 5  # the first ones compile, and empty what was queued meanwhile
LEAST_STEPS = 5
PART_SECONDS = 2.0
LAYER_SECONDS = 0.3
GAIN = 1.1  # less is within the noise
PRECISIONS = ("float32", "mixed_bfloat16")


@dataclass(frozen=True)
class Bench:
    """Times of one training step, in milliseconds.

    Attributes:
        preset: whose step it is.
        pictures: in a step, made ones included.
        precision: that this machine trains in.
        steps: that the loop was measured over.
        parts: one row for each part of a step of real training, columns `ms` and `share`; the
            parts after the first add up to it.
        making: making one batch, on its own.
        xla: a whole step with its data at hand, without and with XLA; `why` it could not.
        layers: forward and backward of each layer, a column for each precision, the `gain` of
            mixed_bfloat16, and the precision that is `used`.
    """

    preset: str
    pictures: int
    precision: str
    steps: int
    parts: pd.DataFrame
    making: float
    xla: pd.DataFrame
    layers: pd.DataFrame


def bench(preset: Preset, data: DataSet, *, seconds: float = LOOP_SECONDS) -> Bench:
    """Measure a preset's training step; takes about a minute, and leaves nothing behind.

    Args:
        preset: what would be trained.
        data: the splits.
        seconds: of real training.
    """
    model = fit._fresh(preset, data, 0)
    # Its answers are no matter here, so an untrained teacher will do.
    teacher = fit._fresh(PRESETS[preset.teacher], data, 0) if preset.teacher else None

    def batches(epoch: int) -> fit.Batches:
        return fit.Batches(preset, data.train, len(data.classes), 0, epoch, teacher)

    first = batches(0)
    turns = itertools.cycle(range(len(first)))
    making = _milliseconds(lambda: first[next(turns)])
    loop = _loop(model, batches, seconds)
    x, y = (tf.constant(array) for array in first[0])
    parts = {"whole step": loop["step"].mean(), "waiting for data": loop["waiting"].mean()}
    parts |= _parts(model, x, y)
    parts["the rest"] = parts["whole step"] - sum(list(parts.values())[1:])
    table = pd.DataFrame({"ms": parts})
    return Bench(
        preset=preset.name,
        pictures=len(x),
        precision=machine.dtype_policy(),
        steps=len(loop),
        parts=table.assign(share=table["ms"] / parts["whole step"]),
        making=making,
        xla=_xla(model, x, y),
        layers=_layers(model, len(x)),
    )


def text(result: Bench) -> str:
    """The tables as people read them."""
    whole, pictures = result.parts["ms"].iloc[0], result.pictures
    parts = pd.DataFrame(
        {
            "ms": result.parts["ms"].map("{:,.1f}".format),
            "share": result.parts["share"].map("{:.1%}".format),
        }
    )
    speed = (1000 * pictures / result.xla["ms"]).map("{:,.0f} pictures/s".format)
    layers = result.layers.assign(
        **{name: result.layers[name].map("{:,.2f}".format) for name in PRECISIONS},
        gain=result.layers["gain"].map("{:.2f}x".format),
    )
    versions = machine.libraries()
    gains = result.layers.index[result.layers["gain"] >= GAIN]
    lines = [
        f"{result.preset}: {pictures} pictures a step, in {result.precision}",
        "; ".join([machine.hardware(), *_gpus()]),
        ", ".join(f"{name} {versions[name]}" for name in ("tensorflow", "keras", "numpy")),
        "",
        f"real training: {1000 * pictures / whole:,.0f} pictures/s, mean of {result.steps} steps",
        parts.to_string(),
        "",
        f"a batch made on its own: {result.making:,.1f} ms, {result.making / whole:.1%} of a step",
        "",
        "a step with its data at hand",
        speed.where(result.xla["why"] == "", "cannot: " + result.xla["why"]).to_string(),
        "",
        "forward and backward of each layer, ms",
        layers.to_string(),
        f"mixed_bfloat16 gains at least {GAIN - 1:.0%} in {', '.join(gains) or 'no layer'}",
    ]
    return "\n".join(lines)


def _gpus() -> list[str]:
    devices = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(device) for device in devices]
    return [detail.get("device_name", "a GPU") for detail in details]


def _loop(
    model: keras.Model, batches: Callable[[int], fit.Batches], seconds: float
) -> pd.DataFrame:
    """Train as `fit` does, with a clock in the one place where Keras fetches a batch.

    Returns:
        A row for each step after the warm-up: milliseconds of the `step` and, as a part of it,
        of `waiting` for its data.
    """
    step = tf.function(model.train_step, jit_compile=model.jit_compile, reduce_retracing=True)
    rows: list[tuple[float, float]] = []
    last = time.perf_counter()

    def train(iterator: tf.data.Iterator) -> dict[str, Any]:
        nonlocal last
        asked = time.perf_counter()
        batch = next(iterator)
        fetched = time.perf_counter()
        logs: dict[str, Any] = step(batch)
        tf.test.experimental.sync_devices()
        # From end to end, so that what Keras does between the steps is a part of them.
        now = time.perf_counter()
        rows.append((now - last, fetched - asked))
        last = now
        model.stop_training = now > end and len(rows) >= WARM_UP_STEPS + LEAST_STEPS
        return logs

    model.train_function = train
    end = last + seconds
    for epoch in itertools.count():
        last = time.perf_counter()
        model.fit(batches(epoch), shuffle=False, verbose=0)
        if model.stop_training:
            break
    table = pd.DataFrame(rows[WARM_UP_STEPS:], columns=["step", "waiting"])
    return 1000 * table


def _parts(model: keras.Model, x: tf.Tensor, y: tf.Tensor) -> dict[str, float]:
    """Forward, backward and optimizer with a batch at hand, in milliseconds."""
    variables = model.trainable_variables

    def loss() -> tf.Tensor:
        return model.compute_loss(x, y, model(x, training=True), training=True)

    @tf.function  # type: ignore[untyped-decorator]
    def forward() -> tf.Tensor:
        return loss()

    @tf.function  # type: ignore[untyped-decorator]
    def both() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            value = loss()
        return tape.gradient(value, variables)  # type: ignore[no-any-return]

    @tf.function  # type: ignore[untyped-decorator]
    def update(gradients: list[tf.Tensor]) -> None:
        model.optimizer.apply_gradients(zip(gradients, variables, strict=True))

    gradients = both()
    there = _milliseconds(forward)
    return {
        "forward": there,
        "backward": _milliseconds(both) - there,
        "optimizer": _milliseconds(lambda: update(gradients)),
    }


def _xla(model: keras.Model, x: tf.Tensor, y: tf.Tensor) -> pd.DataFrame:
    rows = {}
    for name, compiled in (("without XLA", False), ("with XLA", True)):
        step = tf.function(model.train_step, jit_compile=compiled)
        try:
            rows[name] = {"ms": _milliseconds(partial(step, (x, y))), "why": ""}
        except tf.errors.OpError as error:  # an operator that it cannot compile
            rows[name] = {"ms": float("nan"), "why": str(error.message).splitlines()[0]}
    return pd.DataFrame.from_dict(rows, orient="index")


def _layers(model: keras.Model, batch: int) -> pd.DataFrame:
    rows = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer) or layer.input.dtype == "uint8":
            continue
        times = {precision: _layer(layer, precision, batch) for precision in PRECISIONS}
        rows.append({"layer": layer.name, "input": _shape(layer.input),
                     "output": _shape(layer.output), **times,
                     "gain": times["float32"] / times["mixed_bfloat16"],
                     "used": layer.dtype_policy.name})  # fmt: skip
    return pd.DataFrame(rows).set_index("layer")


def _layer(layer: keras.layers.Layer, precision: str, batch: int) -> float:
    """Forward and backward of a copy of one layer on noise, in milliseconds."""
    copy = type(layer).from_config(layer.get_config() | {"dtype": precision})
    x = tf.cast(tf.random.normal((batch, *layer.input.shape[1:])), copy.compute_dtype)
    above = tf.cast(tf.random.normal((batch, *layer.output.shape[1:])), copy.compute_dtype)
    copy.build(x.shape)

    @tf.function  # type: ignore[untyped-decorator]
    def both(x: tf.Tensor, above: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = copy(x, training=True)
        return tape.gradient(y, [x, *copy.trainable_variables], above)  # type: ignore[no-any-return]

    return _milliseconds(lambda: both(x, above), LAYER_SECONDS)


def _shape(tensor: keras.KerasTensor) -> str:
    return " x ".join(str(size) for size in tensor.shape[1:])


def _milliseconds(call: Callable[[], object], seconds: float = PART_SECONDS) -> float:
    """Median time of a call after a first one; at least three calls."""
    call()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        start = time.perf_counter()
        call()
        tf.test.experimental.sync_devices()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
