"""Whether published cards say the truth: every figure measured again."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.data import dataset
from training.errors import TrainingError
from training.measure import metrics, robustness, unfamiliar
from training.presets import ResizeRule
from training.publish.repository import Artifact

# Processors round differently: a figure that is recomputed may move by a few pictures in 10,000.
RECOMPUTED_WITHIN = 5e-4
# Made pictures may differ by a grey level, and one of a kind may cross the threshold by it.
ONE_OTHER_PICTURE = 1.1 / unfamiliar.PICTURES


def recheck(models: Path, folder: Path | None, *, thorough: bool = True) -> list[str]:
    """Recompute the figures of every card that was made from the data in a folder.

    Args:
        models: the model repository.
        folder: the data.
        thorough: else only those of the files for processors on unchanged test pictures.

    Returns:
        One line for each file and split.

    Raises:
        TrainingError: a file is not the card's, or a figure is not what the card says.
    """
    cards = sorted(models.glob("*/[1-9]*/card.json"))
    return [line for path in cards for line in _recheck(Artifact(path.parent), folder, thorough)]


def _recheck(found: Artifact, folder: Path | None, thorough: bool) -> Iterator[str]:
    card = found.read_card()
    size, resize = card["input"]["height"], ResizeRule(**card["resize"])
    data = dataset.load(folder, size, resize)
    if data.fingerprint != card["data"]["fingerprint"]:
        raise TrainingError(f"{found.card}: measured on other data than --data names")
    test = dataset.load_test(folder, size, resize)
    splits = {"validation": data.validation} | ({"test": test} if test else {})
    measured_on = card["metrics"][found.model.name]
    if not measured_on.keys() <= splits.keys():
        raise TrainingError(f"{found.card}: --data has no labelled test pictures")
    familiar = {}
    for file, name in itertools.product(card["metrics"], measured_on):
        for_cuda = card["files"][file]["precision"] == "float16"
        if not thorough and (for_cuda or name != "test"):
            continue
        answers = metrics.predict(found.folder / file, splits[name].images)
        if file == found.model.name:
            familiar[name] = answers.energy
        threshold = card["files"][file]["energy_threshold"]
        measured = metrics.metrics(answers, splits[name].labels, threshold)
        stated = card["metrics"][file][name]
        _compare(f"{found.folder / file}: {name}", stated, measured)
        accuracy = f"{name} accuracy {stated['accuracy']:.2%}"
        yield f"{found.folder / file}: {accuracy}, as its card says"
    if thorough:
        changed = {name: robustness.means(robustness.measure(found.model, splits[name]))
                   for name in measured_on}  # fmt: skip
        _compare(f"{found.card}: robustness", card["robustness"], changed)
        others = unfamiliar.energies(found.model, size, resize)
        measured = unfamiliar.figures(familiar, others, card["energy_threshold"])
        _compare(f"{found.card}: unfamiliar", card["unfamiliar"], measured, ONE_OTHER_PICTURE)


def _compare(
    where: str, stated: dict[str, Any], measured: dict[str, Any], within: float = RECOMPUTED_WITHIN
) -> None:
    for key, value in stated.items():
        if isinstance(value, dict):
            _compare(f"{where} {key}", value, measured[key], within)
        elif not abs(measured[key] - value) <= within:
            raise TrainingError(f"{where} {key} is {measured[key]}, the card says {value}")
