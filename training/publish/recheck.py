"""Measures the figures of published cards again and compares them."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from training.data import dataset
from training.data.dataset import Split
from training.errors import TrainingError
from training.export.outputs import OPTIONAL
from training.figures import Figures
from training.measure import latency, metrics, robustness, unfamiliar
from training.measure.agreement import agreement
from training.measure.cost import cost
from training.measure.metrics import Bin
from training.measure.predict import Predictions, predict
from training.publish import repository, served
from training.publish.artifact import Artifact
from training.publish.card import Card

# Processors round differently: a figure may differ by a few pictures in 10,000.
TOLERANCE = 5e-4
# Generated pictures may differ by a grey level, which can move one of a kind over the threshold.
ONE_PICTURE = 1.1 / unfamiliar.PICTURES
# The largest of 1,000 differences is of a single picture, and int8 rounds by processor.
LARGEST_DIFFERENCE = 0.02
# Label sets: two of the 1,000 pictures of a class may be on the other side of a threshold.
TWO_OF_A_CLASS = 2.1e-3

Json = Mapping[str, Any]


def recheck(models: Path, folder: Path | None, *, thorough: bool = True) -> list[str]:
    """Measure the figures of every card again; all must come from the data in a folder.

    Every figure that an evaluation makes must be in the card. A line says which figures cannot be
    measured again, and why.

    Args:
        models: the model repository.
        folder: the data; None for the download of Keras.
        thorough: if false, only the files for processors on unchanged test pictures.

    Returns:
        One line for each file and split, and lines on all other figures.

    Raises:
        TrainingError: a file is not the one of its card or not the one that was published, or a
            figure is missing or differs.
    """
    cards = sorted(models.glob("*/[1-9]*/card.json"))
    return [line for path in cards for line in _recheck(Artifact(path.parent), folder, thorough)]


def _recheck(found: Artifact, folder: Path | None, thorough: bool) -> Iterator[str]:
    card = found.read_card()
    _check_origin(found, card)
    splits = _splits(found, card, folder)
    _check_complete(found, card, list(splits))
    names = [name for name in splits if thorough or name == "test"]
    answers: dict[str, dict[str, Predictions]] = {}
    for file, stated in card.files.items():
        if not thorough and stated.precision == "float16":  # for CUDA
            continue
        answers[file] = {name: predict(found.folder / file, splits[name].images) for name in names}
        for name, own in answers[file].items():
            measured = metrics.metrics(own, splits[name].labels, stated.energy_threshold)
            figures = card.metrics[file][name]
            _compare(f"{found.folder / file}: {name}", figures.to_json(), measured.to_json())
            accuracy = f"{name} accuracy {figures.accuracy:.2%}"
            yield f"{found.folder / file}: {accuracy}, as its card says"
    if thorough:
        _check_others(found, card, splits, answers)
        yield (
            f"{found.card}: reliability, robustness, unfamiliar pictures, agreement and cost, "
            "as the card says"
        )
        yield f"{found.card}: latency: not measured again, it is of {card.latency.hardware}"
        yield (
            f"{found.card}: parity {card.parity:.1e}: not measured again, it needs the checkpoint, "
            "which is not published; `verify` measures it in the run"
        )


def _check_complete(found: Artifact, card: Card, splits: Sequence[str]) -> None:
    """Check that the card has a figure wherever an evaluation makes one."""
    files, shown = list(card.files), splits[-1:]
    variants = [path.name for path in found.variants(card)]
    twice = [name for name, file in card.files.items() if file.second_view]
    sets = {name: file.label_sets for name, file in card.files.items() if file.label_sets}
    sets = sets if "test" in splits else {}
    timed = [name for name, file in card.files.items() if file.precision != "float16"]
    changes = [*(f"jpeg_{quality}" for quality in robustness.QUALITIES), *robustness.CHANGES]
    per_kind = card.unfamiliar.per_kind
    expected: dict[str, tuple[Collection[object], Collection[object]]] = {
        "metrics": (card.metrics, files),
        **{f"metrics {name}": (of, splits) for name, of in card.metrics.items()},
        "as_served": (card.as_served or {}, twice),
        **{f"as_served {name}": (of, splits) for name, of in (card.as_served or {}).items()},
        "label_sets": (card.label_sets or {}, sets),
        **{
            f"label_sets {name}": (of.get("test", {}), sets.get(name, ()))
            for name, of in (card.label_sets or {}).items()
        },
        "reliability": (card.reliability, files),
        **{f"reliability {name}": (of, shown) for name, of in card.reliability.items()},
        "robustness": (card.robustness, splits),
        **{f"robustness {name}": (of, changes) for name, of in card.robustness.items()},
        "unfamiliar": (per_kind, unfamiliar.KINDS),
        "unfamiliar auroc": (card.unfamiliar.auroc, splits),
        **{f"unfamiliar {name} auroc": (of.auroc, splits) for name, of in per_kind.items()},
        "agreement": (card.agreement, variants),
        "latency": (card.latency.files, timed),
        **{f"latency {name}": (of, latency.BATCHES) for name, of in card.latency.files.items()},
    }
    for where, (stated, wanted) in expected.items():
        _same_keys(f"{found.card}: {where}", stated, wanted)


def _check_others(
    found: Artifact,
    card: Card,
    splits: Mapping[str, Split],
    answers: Mapping[str, Mapping[str, Predictions]],
) -> None:
    """Check all figures but the metrics."""
    model = found.model
    _compare(f"{found.card}: cost", card.cost.to_json(), cost(model).to_json(), 0)
    for path in found.variants(card):
        own = agreement(model, path, splits["validation"].images)
        stated = card.agreement[path.name]
        within = {"same_first_class": 1.1 / own.pictures, "largest_difference": LARGEST_DIFFERENCE}
        for key, value in own.to_json().items():
            where = f"{found.card}: agreement {path.name}"
            _compare(where, {key: getattr(stated, key)}, {key: value}, within.get(key, 0))
    shown = list(splits)[-1]
    for file, of_split in card.reliability.items():
        bins = metrics.reliability(answers[file][shown].probabilities, splits[shown].labels)
        count = len(splits[shown])
        where = f"{found.card}: reliability {file}"
        _compare(where, _masses(of_split[shown], count), _masses(bins, count))
    for name, split in splits.items():
        changed = robustness.means(robustness.measure(model, split))
        for change, figures in card.robustness[name].items():
            where = f"{found.card}: robustness {name} {change}"
            _compare(where, figures.to_json(), changed[change].to_json())
    again = served.figures(found.folder, card, answers, splits)
    _compare(f"{found.card}: as_served", card.as_served or {}, again.as_served or {})
    sets = card.label_sets or {}, again.label_sets or {}
    _compare(f"{found.card}: label_sets", *sets, TWO_OF_A_CLASS)
    familiar = {name: own.energy for name, own in answers[model.name].items()}
    energies = unfamiliar.energies(model, card.input.height, card.resize)
    measured = unfamiliar.figures(familiar, energies, card.energy_threshold).to_json()
    _compare(f"{found.card}: unfamiliar", card.unfamiliar.to_json(), measured, ONE_PICTURE)


def _check_origin(found: Artifact, card: Card) -> None:
    """Check that the files are those that were published, and say what the card says."""
    published = repository.published(found.folder.parents[1], found.folder.parent.name)
    digest = published.get(int(found.folder.name))
    if digest not in (None, card.files[found.model.name].sha256):
        raise TrainingError(
            f"{found.model}: other bytes were published as this version; "
            "a changed file needs a new version"
        )
    for name, file in card.files.items():
        proto = onnx.load(found.folder / name)
        metadata = {entry.key: entry.value for entry in proto.metadata_props}
        stated = {
            "labels": list(card.labels),
            "resize": {"mode": card.resize.mode, "filter": card.resize.filter},
            "energy_threshold": file.energy_threshold,
            **file.model_dump(mode="json", include=set(OPTIONAL)),
            **card.model_dump(mode="json", include={"closer_look"}),
        }
        for key, value in stated.items():
            written = json.loads(metadata[key]) if key in metadata else None
            if written != value:
                raise TrainingError(f"{found.folder / name}: its {key} differs from the card")


def _splits(found: Artifact, card: Card, folder: Path | None) -> dict[str, Split]:
    size = card.input.height
    data = dataset.load(folder, size, card.resize)
    if data.fingerprint != card.data.fingerprint:
        raise TrainingError(f"{found.card}: measured on other data than --data names")
    test = dataset.load_test(folder, size, card.resize)
    splits = {"validation": data.validation} | ({"test": test} if test else {})
    if not test and card.data.test:
        raise TrainingError(f"{found.card}: --data has no labelled test pictures")
    return splits


def _same_keys(where: str, stated: Iterable[object], expected: Iterable[object]) -> None:
    missing, unknown = set(expected) - set(stated), set(stated) - set(expected)
    for key in sorted(map(str, missing)):
        raise TrainingError(f"{where}: the card does not have {key}")
    for key in sorted(map(str, unknown)):
        raise TrainingError(f"{where}: the card has {key}, which is not measured")


def _compare(where: str, stated: Json, measured: Json, within: float = TOLERANCE) -> None:
    said, found = dict(_numbers(stated)), dict(_numbers(measured))
    _same_keys(where, said, found)
    for key, value in said.items():
        if not abs(found[key] - value) <= within:
            raise TrainingError(f"{where} {key} is {found[key]}, the card says {value}")


def _numbers(values: Json) -> Iterator[tuple[str, float]]:
    """The numbers in nested figures or JSON objects, each with its path in words."""
    for key, value in values.items():
        if isinstance(value, Figures):
            value = value.to_json()
        if isinstance(value, str):
            continue
        if isinstance(value, dict):
            yield from ((f"{key} {inner}", number) for inner, number in _numbers(value))
        else:
            yield key, value


def _masses(bins: Sequence[Bin], pictures: int) -> Json:
    """What each bin contributes to the means over a split, so that small bins weigh little."""
    masses = {f"bin {number}": dict.fromkeys(("pictures", "confidence", "accuracy"), 0.0)
              for number in range(metrics.CALIBRATION_BINS)}  # fmt: skip
    for one in bins:
        share = one.pictures / pictures
        masses[f"bin {one.bin}"] = {
            "pictures": share,
            "confidence": one.confidence * share,
            "accuracy": one.accuracy * share,
        }
    return masses
