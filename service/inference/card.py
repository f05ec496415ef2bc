"""The model card, `card.json`: what a publisher states about one version of a model."""

from pathlib import Path
from typing import Self

from pydantic import (
    BaseModel,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from service.errors import ModelRefusedError
from service.inference.closer_look import CloserLookRule
from service.inference.resizing import ResizeRule
from service.inference.second_view import SecondViewRule

CARD_FILE = "card.json"
MODEL_FILE = "model.onnx"


class CardFile(BaseModel, frozen=True):
    """One model file.

    `energy_threshold` is None where the card's own applies, and `second_view` where the file has
    none. `label_sets` are by coverage, in 0..1: for each class the least probability with which it
    belongs to the set.
    """

    sha256: str
    precision: str = "float32"
    energy_threshold: float | None = None
    second_view: SecondViewRule | None = None
    label_sets: dict[float, tuple[float, ...]] | None = None


class InputSize(BaseModel, frozen=True):
    """Size of the model's input in pixels."""

    height: int
    width: int


class Figures(BaseModel, frozen=True):
    """Figures measured on one split; accuracy in 0..1."""

    accuracy: float | None = None


class Card(BaseModel, frozen=True):
    """The part of a card that the service reads; other keys are ignored.

    `closer_look` is None where the model has no such rule.
    The labels are in the order of the class ids. The energy threshold is that of `model.onnx` and
    of files without one of their own. A faster file may lose accuracy up to the limit, in 0..1, to
    be chosen. Metrics are by file and split; they are not needed to serve, so figures of any other
    shape count as none.
    """

    name: str
    version: int
    labels: tuple[str, ...]
    input: InputSize
    resize: ResizeRule
    energy_threshold: float
    files: dict[str, CardFile]
    closer_look: CloserLookRule | None = None
    accuracy_loss_limit: float = 0.0
    metrics: dict[str, dict[str, Figures]] = {}

    @field_validator("metrics", mode="wrap")
    @classmethod
    def _ignore_other_shapes(
        cls, value: object, validate: ValidatorFunctionWrapHandler
    ) -> dict[str, dict[str, Figures]]:
        try:
            metrics: dict[str, dict[str, Figures]] = validate(value)
        except ValidationError:
            return {}
        return metrics

    @model_validator(mode="after")
    def _check_label_sets(self) -> Self:
        for name, file in self.files.items():
            sets = (file.label_sets or {}).values()
            if any(len(thresholds) != len(self.labels) for thresholds in sets):
                raise ValueError(f"{name}: a label set has another number of classes")
        return self

    def threshold(self, file: str) -> float:
        """The energy below which a picture is unfamiliar to one of the files."""
        own = self.files[file].energy_threshold
        return self.energy_threshold if own is None else own

    def accuracies(self, file: str) -> dict[str, float]:
        """The measured accuracies of a file in 0..1, by split; `test` comes first."""
        figures = self.metrics.get(file, {})
        return {
            split: accuracy
            for split in ("test", "validation")
            if split in figures and (accuracy := figures[split].accuracy) is not None
        }

    def keeps_accuracy(self, file: str) -> bool:
        """Whether a file was measured, and is within the card's limit of `model.onnx`."""
        own = self.accuracies(file)
        for split, full in self.accuracies(MODEL_FILE).items():
            if split in own:
                return round(full - own[split], 6) <= self.accuracy_loss_limit
        return False


def parse_card(data: bytes, path: Path) -> Card:
    """Reads a card from its JSON; `path` is where it comes from.

    Raises:
        ModelRefusedError: it is not a card.
    """
    try:
        return Card.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelRefusedError(f"{path} is not a model card: {where}: {first['msg']}.") from error
