"""What `verify-models` does not measure again: why, and what can be said of it all the same.

Such figures are compared with others of the card, and the digest of the card keeps them as they
were published.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from training.export import outputs
from training.measure import latency
from training.measure.metrics import Metrics
from training.measure.spread import SeedSpread, Spread, spread
from training.publish.card import Card
from training.publish.differences import keys

# Fields of a card that no measurement of the published files makes.
REASONS = {
    "training": "its time and machine are what the run recorded",
    "parity": "it needs the checkpoint, which is not published; `verify` measures it in the run",
    "latency": "it is of the machine that the card names; `compare` measures it on this one",
    "seeds": "the files of the other seeds are not published",
    "seeds_as_served": "the files of the other seeds are not published",
    "photographs": "they are not part of the data; name them with --photographs and --other",
    "test_readings": "they are what the runs recorded",
}
MODEL = "model.onnx"

ByFile = Mapping[str, Mapping[str, Metrics]]


def faults(card: Card) -> Iterator[str]:
    """What is missing in these figures, or contradicts other parts of the card."""
    first = card.files[MODEL]
    if card.energy_threshold != first.energy_threshold:
        yield f"energy_threshold: the card has another one for {MODEL}"
    if card.calibration_of(MODEL) != card.calibration:
        yield f"temperature, exponent, certainty: the card has others for {MODEL}"
    if not 0 <= card.parity <= outputs.TOLERANCE:
        yield f"parity is {card.parity}, and at most {outputs.TOLERANCE} is allowed"
    timed = [name for name, file in card.files.items() if file.precision != "float16"]
    yield from keys("latency", card.latency.files, timed)
    for name, times in card.latency.files.items():
        yield from keys(f"latency {name}", times, latency.BATCHES)
    if card.photographs is not None:
        yield from keys("photographs", card.photographs, card.files)
    yield from _of_seeds(card)
    yield from _of_readings(card)


def _of_seeds(card: Card) -> Iterator[str]:
    if card.seeds and not card.seeds_as_served:
        yield "seeds_as_served: the card does not have them"
    served: ByFile = {**card.metrics, **(card.as_served or {})}
    yield from _of_spreads("seeds", card, card.seeds or {}, card.metrics)
    yield from _of_spreads("seeds_as_served", card, card.seeds_as_served or {}, served)


def _of_spreads(
    field: str, card: Card, seeds: Mapping[str, Mapping[str, SeedSpread]], own: ByFile
) -> Iterator[str]:
    for file, of_split in seeds.items():
        measured = own.get(file, {})
        yield from keys(f"{field} {file}", of_split, measured)
        for name, figures in of_split.items():
            if name in measured:
                where = f"{field} {file} {name}"
                yield from _of_spread(where, card.training.seed, figures, measured[name])


def _of_spread(where: str, seed: int, figures: SeedSpread, own: Metrics) -> Iterator[str]:
    if figures.seeds[:1] != (seed,):
        yield f"{where}: the first seed is not {seed}, which was published"
    for name in ("accuracy", "log_loss", "expected_calibration_error"):
        stated: Spread = getattr(figures, name)
        if len(stated.values) != len(figures.seeds) or not _is_right(stated):
            yield f"{where} {name}: mean, deviation and interval are not those of the seeds"
        elif stated.values[0] != getattr(own, name):
            yield f"{where} {name}: the value of seed {seed} is not that of the card"


def _is_right(stated: Spread) -> bool:
    if len(stated.values) < 2:
        return False
    again = spread(stated.values)
    numbers, others = ((one.mean, one.standard_deviation, *one.interval) for one in (stated, again))
    return np.allclose(numbers, others)


def _of_readings(card: Card) -> Iterator[str]:
    counted = card.test_readings
    if counted is None:
        # Cards whose files have no calibration of their own are older than the count.
        if card.data.test and card.files[MODEL].temperature is not None:
            yield "test_readings: the card does not have them"
        return
    of_split = [one for of_file in (card.seeds or {}).values() for one in of_file.values()]
    least = max([counted.run, *(len(one.seeds) for one in of_split)])
    if not 1 <= counted.run <= least <= counted.all_runs:
        yield f"test_readings: {counted.run} for the run and {counted.all_runs} for all runs"
