"""Measures where the time of a training step of TensorFlow goes, layer by layer."""

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import pandas as pd
import tensorflow as tf

from training.data.dataset import DataSet
from training.presets import PRESETS, Preset
from training.train import backend, untrained
from training.train.device_feed import source
from training.train.feed import Steps, feed
from training.train.teaching import Teacher

LOOP_SECONDS = 20.0
WARM_UP_STEPS = 5  # they compile, and use up what was queued meanwhile
LEAST_STEPS = 5
PART_SECONDS = 2.0
LAYER_SECONDS = 0.3
GAIN = 1.1  # smaller gains are within the noise
PRECISIONS = ("float32", "mixed_bfloat16")


@dataclass(frozen=True)
class Bench:
    """Times of one training step, in milliseconds.

    Attributes:
        preset: name of the preset.
        pictures: in a step, with the outliers.
        precision: Keras dtype policy of this machine.
        loop: a row for each step of real training after the warm-up: its time `step`, and the
            part of it `waiting` for data.
        making: making one batch, without training.
        parts: of a step whose data are ready: `forward`, `backward`, `optimizer` and `the rest`.
        layers: forward and backward of each layer, a column for each precision, the `gain` of
            mixed_bfloat16, and the precision that is `used`.
    """

    preset: str
    pictures: int
    precision: str
    loop: pd.DataFrame
    making: float
    parts: dict[str, float]
    layers: pd.DataFrame


def bench(preset: Preset, data: DataSet, *, seconds: float = LOOP_SECONDS) -> Bench:
    """Measure the training step of a preset; takes about a minute and writes no files.

    Args:
        preset: the settings of the training.
        data: the splits.
        seconds: of real training.
    """
    preset = replace(preset, growth=())  # always at the full size
    model = untrained.new_model(preset, data, 0)
    # The time does not depend on the answers of the teacher, so it is not trained.
    teacher = None
    if preset.teacher:
        teacher = Teacher(untrained.new_model(PRESETS[preset.teacher], data, 0))
    make = source(preset, data.train, len(data.classes), 0, teacher)

    def batches(epoch: int) -> Steps:
        return make(epoch, 0)

    first = batches(0)
    order = itertools.cycle(range(len(first)))
    making = _milliseconds({"making": lambda: first[next(order)]}, PART_SECONDS)["making"]
    loop = _loop(model, batches, seconds)
    x, y = (tf.constant(array) for array in first[0])
    return Bench(
        preset=preset.name,
        pictures=len(x),
        precision=backend.dtype_policy(),
        loop=loop,
        making=making,
        parts=_parts(model, x, y),
        layers=_layers(model, len(x)),
    )


def text(result: Bench) -> str:
    """The result as text for a terminal."""
    step, waiting = result.loop["step"].mean(), result.loop["waiting"].mean()
    total = sum(result.parts.values())
    layers = result.layers.assign(
        **{name: result.layers[name].map("{:,.2f}".format) for name in PRECISIONS},
        gain=result.layers["gain"].map("{:.2f}x".format),
    )
    versions = backend.libraries()
    gains = result.layers.index[result.layers["gain"] >= GAIN]
    lines = [
        f"{result.preset}: {result.pictures} pictures a step, in {result.precision}",
        backend.hardware(),
        ", ".join(f"{name} {versions[name]}" for name in ("tensorflow", "keras", "numpy")),
        "",
        f"real training, mean of {len(result.loop)} steps",
        f"  {step:,.1f} ms a step, {1000 * result.pictures / step:,.0f} pictures/s",
        f"  {waiting:,.1f} ms of it waiting for data, {waiting / step:.1%}",
        f"  {result.making:,.1f} ms to make a batch on its own, while the step before it runs",
        "",
        "a step whose data are ready",
        *(f"  {ms:,.1f} ms {name}, {ms / total:.1%}" for name, ms in result.parts.items()),
        "",
        "forward and backward of each layer, ms",
        layers.to_string(),
        f"mixed_bfloat16 gains at least {GAIN - 1:.0%} in {', '.join(gains) or 'no layer'}",
    ]
    return "\n".join(lines)


def _loop(model: keras.Model, batches: Callable[[int], Steps], seconds: float) -> pd.DataFrame:
    """Train as `fit` does, and time each step where Keras fetches its batch.

    Returns:
        A row for each step after the warm-up: its time `step`, and the part of it `waiting` for
        data, in milliseconds.
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
        # From the end of the step before, to include what Keras does between the steps.
        now = time.perf_counter()
        rows.append((now - last, fetched - asked))
        last = now
        model.stop_training = now > end and len(rows) >= WARM_UP_STEPS + LEAST_STEPS
        return logs

    model.train_function = train
    end = last + seconds
    for epoch in itertools.count():
        last = time.perf_counter()
        model.fit(feed(batches(epoch)), shuffle=False, verbose=0)
        if model.stop_training:
            break
    table = pd.DataFrame(rows[WARM_UP_STEPS:], columns=["step", "waiting"])
    return 1000 * table


def _parts(model: keras.Model, x: tf.Tensor, y: tf.Tensor) -> dict[str, float]:
    variables = model.trainable_variables
    compiled = partial(tf.function, jit_compile=model.jit_compile)

    def loss() -> tf.Tensor:
        return model.compute_loss(x, y, model(x, training=True), training=True)

    def gradients() -> Any:  # noqa: ANN401
        with tf.GradientTape() as tape:
            value = loss()
        return tape.gradient(value, variables)

    def update(values: list[tf.Tensor]) -> None:
        model.optimizer.apply_gradients(zip(values, variables, strict=True))

    both = compiled(gradients)
    times = _milliseconds(
        {
            "forward": compiled(loss),
            "both": both,
            "optimizer": partial(compiled(update), both()),
            "step": partial(compiled(model.train_step), (x, y)),
        },
        PART_SECONDS,
    )
    return {
        "forward": times["forward"],
        "backward": times["both"] - times["forward"],
        "optimizer": times["optimizer"],
        "the rest": times["step"] - times["both"] - times["optimizer"],
    }


def _layers(model: keras.Model, batch: int) -> pd.DataFrame:
    rows = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer) or layer.input.dtype == "uint8":
            continue
        calls = {precision: _layer(layer, precision, batch) for precision in PRECISIONS}
        times = _milliseconds(calls, LAYER_SECONDS)
        rows.append({"layer": layer.name, "input": _shape(layer.input),
                     "output": _shape(layer.output), **times,
                     "gain": times["float32"] / times["mixed_bfloat16"],
                     "used": layer.dtype_policy.name})  # fmt: skip
    return pd.DataFrame(rows).set_index("layer")


def _layer(layer: keras.layers.Layer, precision: str, batch: int) -> Callable[[], object]:
    """A call that computes forward and backward of a copy of one layer on noise."""
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

    return partial(both.get_concrete_function(x, above), x, above)


def _shape(tensor: keras.KerasTensor) -> str:
    return " x ".join(str(size) for size in tensor.shape[1:])


def _milliseconds(calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median time of each call in milliseconds, after a first one.

    The calls alternate, so that load on the machine affects all alike, for `seconds` a call in
    total and at least three rounds.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    while sum(map(sum, times.values())) < seconds * len(calls) or min(map(len, times.values())) < 3:
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            tf.test.experimental.sync_devices()
            times[name].append(time.perf_counter() - start)
    return {name: 1000 * statistics.median(values) for name, values in times.items()}
