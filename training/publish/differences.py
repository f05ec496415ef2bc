"""Where the figures of a card differ from those that were measured again."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from training.measure import agreement, metrics, unfamiliar
from training.publish.card import Card

# Processors round differently: a figure may differ by a few pictures in 10,000.
TOLERANCE = 5e-4
# Other tolerances, by the field of the card or the name of the figure.
TOLERANCES = {
    "cost": 0.0,
    "same_first_class": 1.1 / agreement.PICTURES,
    # The largest of 1,000 differences is of a single picture, and int8 rounds by processor.
    "largest_difference": 0.02,
    # Two of the 1,000 pictures of a class may be on the other side of a threshold.
    "label_sets": 2.1e-3,
    # Generated pictures may differ by a grey level, which can move one of a kind.
    "unfamiliar": 1.1 / unfamiliar.PICTURES,
    # Two of 68 photographs.
    "photographs": 0.03,
}
# What is in a card by file and split, and may be measured for some of them only.
BY_FILE = ("metrics", "as_served", "label_sets")

Json = Mapping[str, Any]


def between(card: Card, measured: Mapping[str, Any]) -> Iterator[str]:
    """What the card lacks, and each figure that is not the one that was measured.

    Args:
        card: the card.
        measured: figures by the field of the card that they belong to.
    """
    stated, again = card.to_json(), card.model_copy(update=measured).to_json()
    for field in measured:
        said, found = stated.get(field, {}), again.get(field, {})
        if field in BY_FILE:
            said = _of(said, again["metrics"])
        if field == "reliability":
            said, found = _masses(said), _masses(found)
        yield from _differences(field, said, found, TOLERANCES.get(field, TOLERANCE))


def _differences(where: str, said: Any, found: Any, within: float) -> Iterator[str]:  # noqa: ANN401
    if isinstance(found, dict):
        yield from keys(where, said, found)
        for key, inner in found.items():
            if key in said:
                own = TOLERANCES.get(key, within)
                yield from _differences(f"{where} {key}", said[key], inner, own)
    elif not isinstance(found, str) and not abs(found - said) <= within:
        yield f"{where} is {found}, the card says {said}"


def keys(where: str, said: Collection[object], wanted: Collection[object]) -> Iterator[str]:
    """What a part of a card lacks of what it should have, and what it has beyond that."""
    yield from (f"{where}: the card does not have {key}" for key in wanted if key not in said)
    yield from (
        f"{where}: the card has {key}, which is not measured" for key in said if key not in wanted
    )


def _of(figures: Json, answers: Json) -> Json:
    """Of figures by file and split, those of files and splits with answers."""
    return {
        file: {name: of_split[name] for name in of_split if name in answers[file]}
        for file, of_split in figures.items()
        if file in answers
    }


def _masses(reliability: Json) -> Json:
    """What each bin contributes to the means over a split, so that small bins weigh little."""
    return {
        file: {name: _of_bins(bins) for name, bins in of_split.items()}
        for file, of_split in reliability.items()
    }


def _of_bins(bins: list[Json]) -> Json:
    masses = {
        f"bin {number}": dict.fromkeys(("pictures", "confidence", "accuracy"), 0.0)
        for number in range(metrics.CALIBRATION_BINS)
    }
    total = sum(one["pictures"] for one in bins)
    for one in bins:
        share = one["pictures"] / total
        masses[f"bin {one['bin']}"] = {
            "pictures": share,
            "confidence": one["confidence"] * share,
            "accuracy": one["accuracy"] * share,
        }
    return masses
