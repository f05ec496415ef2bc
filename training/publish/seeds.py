"""The spread of the cards of several seeds of one preset."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from training.measure.metrics import Metrics
from training.measure.spread import SeedSpread, spread
from training.publish.card import Card

Splits = Mapping[str, Metrics]


class SeedSpreads(NamedTuple):
    """The card's figures of the same names; None where there is only one seed."""

    seeds: dict[str, dict[str, SeedSpread]] | None
    seeds_as_served: dict[str, dict[str, SeedSpread]] | None


def spreads(cards: Sequence[Card]) -> SeedSpreads:
    """The spread of each file that at least two seeds have.

    As served is with second views; a file that has none is served with one view, so there its
    figures are those of one view.

    Args:
        cards: of the seeds, that of the published one first.
    """
    single: list[Mapping[str, Splits]] = [card.metrics for card in cards]
    served: list[Mapping[str, Splits]] = [
        {name: (card.as_served or {}).get(name, of) for name, of in card.metrics.items()}
        for card in cards
    ]
    seeds = [card.training.seed for card in cards]
    return SeedSpreads(_of_files(seeds, single), _of_files(seeds, served))


def _of_files(
    seeds: Sequence[int], figures: Sequence[Mapping[str, Splits]]
) -> dict[str, dict[str, SeedSpread]] | None:
    found = {}
    for file in figures[0]:
        own = {seed: of[file] for seed, of in zip(seeds, figures, strict=True) if file in of}
        if len(own) > 1:
            found[file] = {split: _of_split(own, split) for split in figures[0][file]}
    return found or None


def _of_split(figures: Mapping[int, Splits], split: str) -> SeedSpread:
    own = [of[split] for of in figures.values()]
    return SeedSpread(
        seeds=tuple(figures),
        accuracy=spread([one.accuracy for one in own]),
        log_loss=spread([one.log_loss for one in own]),
        expected_calibration_error=spread([one.expected_calibration_error for one in own]),
    )
