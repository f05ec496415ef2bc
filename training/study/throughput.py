"""Measures how much of a training step is computing, on any backend of Keras."""

import time
from dataclasses import dataclass, replace

import keras
from keras import ops

from training.data.dataset import DataSet
from training.presets import PRESETS, Preset
from training.train import backend, untrained
from training.train.device_feed import source
from training.train.feed import Steps, feed, pictures_in_step
from training.train.teaching import Teacher

SECONDS = 10.0  # of each measurement
LEAST_STEPS = 3


@dataclass(frozen=True)
class Throughput:
    """Times of one training step, in milliseconds.

    Attributes:
        preset: name of the preset.
        where: backend, precision and hardware.
        pictures: in a step, with the outliers.
        step: of real training.
        computing: of it, which a step takes whose data are ready.
        sharp_step: a sharpness-aware one of real training; 0 where the preset has no such steps.
        making: one batch on its own, with the answers of a teacher.
        minutes: of all epochs at this pace, without compiling, validation and teacher's training.
        epochs: of the preset.
    """

    preset: str
    where: str
    pictures: int
    step: float
    computing: float
    sharp_step: float
    making: float
    minutes: float
    epochs: int

    def text(self) -> str:
        """The result as text for a terminal."""
        return "\n".join(
            [
                f"{self.preset}: {self.pictures} pictures a step",
                self.where,
                f"  {self.step:,.1f} ms a step, {1000 * self.pictures / self.step:,.0f} pictures/s",
                f"  {self.computing:,.1f} ms of it computing, {self.computing / self.step:.1%}",
                *(
                    [f"  {self.sharp_step:,.1f} ms a sharpness-aware step"]
                    if self.sharp_step
                    else []
                ),
                f"  {self.making:,.1f} ms to make a batch on its own",
                f"  {self.epochs} epochs take {self.minutes:,.1f} minutes at this pace, not "
                "counting compilation and validation",
            ]
        )


def measure(preset: Preset, data: DataSet, *, seconds: float = SECONDS) -> Throughput:
    """Measure the training step of a preset; takes about a minute and writes no files.

    Args:
        preset: the settings of the training; always at the full size.
        data: the splits.
        seconds: of each of the three or four measurements.
    """
    preset = replace(preset, growth=())
    model = untrained.new_model(preset, data, 0)
    teacher = None
    if preset.teacher:
        # The time does not depend on the answers of the teacher, so it is not trained.
        teacher = Teacher(untrained.new_model(PRESETS[preset.teacher], data, 0))
    make = source(preset, data.train, len(data.classes), 0, teacher)
    epoch = make(0, 0)
    ready = epoch[0]
    steps = preset.steps(len(data.train))
    step, sharp = _train(model, epoch, seconds), 0.0
    computing = _train(model, _Ready(epoch, ready), seconds)
    sharp_epochs = sum(preset.sharpness_radius_in(epoch) > 0 for epoch in range(preset.epochs))
    if sharp_epochs:
        model.set_radius(preset.sharpness_radius)
        sharp = _train(model, epoch, seconds)
    all_epochs = (preset.epochs - sharp_epochs) * step + sharp_epochs * sharp
    return Throughput(
        preset=preset.name,
        where=", ".join(
            [backend.NAMES[keras.backend.backend()], backend.dtype_policy(), backend.hardware()]
        ),
        pictures=sum(pictures_in_step(preset, data.train)),
        step=step,
        computing=computing,
        sharp_step=sharp,
        making=_make(epoch, seconds),
        minutes=steps * all_epochs / 60_000,
        epochs=preset.epochs,
    )


class _Repeated(Steps):
    """So many steps of an epoch, over and over."""

    def __init__(self, epoch: Steps, count: int) -> None:
        super().__init__()
        self._epoch, self._count = epoch, count
        self.size, self.classes = epoch.size, epoch.classes

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, step: int) -> object:
        return self._epoch[step % len(self._epoch)]


class _Ready(_Repeated):
    """One batch, over and over."""

    def __init__(self, epoch: Steps, batch: object) -> None:
        super().__init__(epoch, len(epoch))
        self._batch = batch

    def __getitem__(self, step: int) -> object:
        return self._batch


def _train(model: keras.Model, epoch: Steps, seconds: float) -> float:
    """Milliseconds of a step of real training, after some that compile."""

    def run(count: int) -> float:
        begin = time.perf_counter()
        model.fit(feed(_Repeated(epoch, count)), shuffle=False, verbose=0)
        ops.convert_to_numpy(model.optimizer.iterations)  # waits for the last step
        return time.perf_counter() - begin

    run(LEAST_STEPS)
    count = max(LEAST_STEPS, round(seconds / (run(LEAST_STEPS) / LEAST_STEPS)))
    return 1000 * run(count) / count


def _make(epoch: Steps, seconds: float) -> float:
    """Milliseconds of making a batch, each waited for."""
    begin, count = time.perf_counter(), 0
    while count < LEAST_STEPS or time.perf_counter() - begin < seconds:
        for part in epoch[count % len(epoch)]:
            ops.convert_to_numpy(part)
        count += 1
    return 1000 * (time.perf_counter() - begin) / count
