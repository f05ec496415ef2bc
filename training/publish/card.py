"""The model card: what `card.json` says of the files beside it.

A card is written in two stages. `ExportedCard` describes the files and their origin; `Card` also
has all figures, and only models with a `Card` are published.
"""

import datetime as dt
from typing import Annotated

from pydantic import AfterValidator, Field

from training.data.dataset import DataFacts
from training.export.calibration import Calibration
from training.figures import Figures, Precision
from training.files import one_component
from training.measure.agreement import Agreement
from training.measure.closer_look import CloserLook
from training.measure.cost import Cost
from training.measure.label_sets import SetFigures
from training.measure.latency import Latency
from training.measure.metrics import Bin, Metrics
from training.measure.photographs import PhotographFigures
from training.measure.robustness import ChangeAccuracy
from training.measure.second_view import SecondView, ServedMetrics
from training.measure.spread import SeedSpread
from training.measure.unfamiliar import UnfamiliarFigures
from training.presets import PresetField, ResizeRule

# A component of a path: a card cannot name what lies elsewhere.
FileName = Annotated[str, AfterValidator(one_component)]


class InputSize(Figures):
    """Size of the pictures that the model takes, in pixels."""

    height: int
    width: int


class ModelFile(Figures):
    """One ONNX file.

    Attributes:
        sha256: of the file, in hexadecimal.
        bytes: size of the file.
        precision: of its inner layers.
        energy_threshold: pictures with less energy count as unfamiliar.
        calibration: how the ranges of an int8 file were found.
        temperature: of its calibration; None where that of `model.onnx` applies, in this and the
            next two.
        exponent: of its calibration.
        certainty: the highest probability of its answers.
        second_view: which pictures are computed twice; None for none.
        label_sets: by coverage, the least probability with which each class belongs to a set.
    """

    sha256: str
    bytes: int
    precision: Precision
    energy_threshold: float
    calibration: str | None = None
    temperature: float | None = None
    exponent: float | None = None
    certainty: float | None = None
    second_view: SecondView | None = None
    label_sets: dict[float, tuple[float, ...]] | None = None


class Training(Figures):
    """The run that the model comes from.

    Attributes:
        preset: name of the preset.
        seed: of everything random.
        config: all settings of the preset.
        epochs: finished epochs.
        wall_time_s: training time in seconds, pauses included; of an epoch that was resumed before
            processor time was recorded, only what came after.
        processor_time_s: processor time of the training in seconds, of all cores together.
        processor_time_epochs: number of epochs that `processor_time_s` is of; None where none was
            measured.
        date: of the start.
        hardware: processor, cores and operating system.
        libraries: versions, by name.
        precision: Keras dtype policy.
        devices: number of devices that shared each batch.
        checkpoint: SHA-256 of the checkpoint that was exported; None in older cards.
        code: digest of the sources that train; None where it was not recorded.
        changes: what was another library, machine or code when the run was resumed, and what was
            not recorded; None where nothing was.
    """

    preset: str
    seed: int
    config: PresetField
    epochs: int
    wall_time_s: float
    processor_time_s: float | None = None
    processor_time_epochs: int | None = None
    date: dt.date
    hardware: str
    libraries: dict[str, str]
    precision: str
    devices: int
    checkpoint: str | None = None
    code: str | None = None
    changes: tuple[str, ...] | None = None


class Readings(Figures):
    """How many times the test split was read before and for the card's figures.

    Attributes:
        run: for the run of the model.
        all_runs: for all runs beside it, on the same data; the run itself is one of them.
    """

    run: int
    all_runs: int


class ExportedCard(Figures):
    """The card of exported files, before they are evaluated.

    Attributes:
        name: of the model.
        version: of the model.
        labels: class names in the order of the outputs.
        input: size of the pictures.
        resize: how pictures of other sizes become the input.
        closer_look: which pictures are computed as a square too; None for none.
        energy_threshold: of `model.onnx`.
        temperature: of the calibration of `model.onnx`.
        exponent: of the calibration of `model.onnx`.
        certainty: the highest probability of an answer of `model.onnx`; None for 1.
        cost: of `model.onnx`.
        accuracy_loss_limit: largest loss of validation accuracy that a faster file may have.
        files: by file name, `model.onnx` first.
        training: the run.
        data: the data set.
        parity: largest difference between Keras and `model.onnx`; None before `verify`.
        agreement: of each faster file with `model.onnx`; None before `verify`.
    """

    name: FileName
    version: Annotated[int, Field(ge=1)]
    labels: tuple[str, ...]
    input: InputSize
    resize: ResizeRule
    energy_threshold: float
    temperature: float
    exponent: float
    certainty: float | None = None
    closer_look: CloserLook | None = None
    cost: Cost
    accuracy_loss_limit: float
    files: dict[FileName, ModelFile]
    training: Training
    data: DataFacts
    parity: float | None = None
    agreement: dict[str, Agreement] | None = None

    @property
    def calibration(self) -> Calibration:
        """The calibration of `model.onnx`."""
        return Calibration(self.temperature, self.exponent, self.certainty or 1.0)

    def calibration_of(self, name: str) -> Calibration:
        """The calibration of a file."""
        file = self.files[name]
        if file.temperature is None or file.exponent is None:
            return self.calibration
        return Calibration(file.temperature, file.exponent, file.certainty or 1.0)


class Card(ExportedCard):
    """The card of files that are verified and evaluated.

    Attributes:
        metrics: by file name and split, one view of each picture.
        as_served: the same with second views, of the files that have them; None where none has.
        label_sets: by file name, split and coverage; of the test split only, where it has labels.
        reliability: by file name and split; of the test split only, where it has labels.
        robustness: by split and change, of `model.onnx`.
        unfamiliar: of `model.onnx`.
        latency: of the files for processors.
        seeds: by file name and split, where more than one seed was trained; one view of each
            picture.
        seeds_as_served: the same as served, with second views where a file of a seed has them.
        photographs: by file name; None where no folders of photographs were named.
        test_readings: of the test split; None where they were not counted.
    """

    parity: float
    agreement: dict[str, Agreement]
    metrics: dict[str, dict[str, Metrics]]
    reliability: dict[str, dict[str, list[Bin]]]
    robustness: dict[str, dict[str, ChangeAccuracy]]
    unfamiliar: UnfamiliarFigures
    latency: Latency
    as_served: dict[str, dict[str, ServedMetrics]] | None = None
    label_sets: dict[str, dict[str, dict[float, SetFigures]]] | None = None
    seeds: dict[str, dict[str, SeedSpread]] | None = None
    seeds_as_served: dict[str, dict[str, SeedSpread]] | None = None
    photographs: dict[str, PhotographFigures] | None = None
    test_readings: Readings | None = None
