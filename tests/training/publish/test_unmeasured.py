from typing import Any

import pytest

from tests.training.conftest import change_card
from training.publish import seeds, unmeasured
from training.publish.artifact import Artifact
from training.publish.card import Card

INT8 = "model.int8.onnx"


def changed(found: Artifact, **values: Any) -> Card:  # noqa: ANN401
    change_card(found, lambda card: card.update(values))
    return found.read_card()


def test_card_of_an_evaluated_run_has_no_fault(finished: Artifact) -> None:
    assert list(unmeasured.faults(finished.read_card())) == []


@pytest.mark.parametrize("parity", [0.9, -1.0, float("nan")])
def test_parity_that_verify_would_refuse_is_found(finished: Artifact, parity: float) -> None:
    card = finished.read_card().model_copy(update={"parity": parity})
    assert list(unmeasured.faults(card)) == [f"parity is {parity}, and at most 0.0001 is allowed"]


@pytest.mark.parametrize("key", ["temperature", "exponent", "certainty"])
def test_two_calibrations_of_one_file_are_found(finished: Artifact, key: str) -> None:
    (fault,) = unmeasured.faults(changed(finished, **{key: 0.6}))
    assert fault == "temperature, exponent, certainty: the card has others for model.onnx"


def test_two_thresholds_of_one_file_are_found(finished: Artifact) -> None:
    (fault,) = unmeasured.faults(changed(finished, energy_threshold=0.1))
    assert fault == "energy_threshold: the card has another one for model.onnx"


def test_missing_latency_is_found(finished: Artifact) -> None:
    def remove(card: dict[str, Any]) -> None:
        del card["latency"]["files"][INT8]
        del card["latency"]["files"]["model.onnx"]["32"]

    change_card(finished, remove)
    assert list(unmeasured.faults(finished.read_card())) == [
        f"latency: the card does not have {INT8}",
        "latency model.onnx: the card does not have 32",
    ]


def test_file_without_figures_of_photographs_is_found(finished: Artifact) -> None:
    files = finished.read_card().files
    card = finished.read_card().model_copy(update={"photographs": dict.fromkeys(files)})
    assert list(unmeasured.faults(card)) == []
    del card.photographs[INT8]  # type: ignore[union-attr]
    assert list(unmeasured.faults(card)) == [f"photographs: the card does not have {INT8}"]


@pytest.mark.parametrize("readings", [{"run": 0, "all_runs": 4}, {"run": 3, "all_runs": 2}])
def test_impossible_count_of_readings_is_found(
    finished: Artifact, readings: dict[str, int]
) -> None:
    (fault,) = unmeasured.faults(changed(finished, test_readings=readings))
    assert fault.startswith("test_readings: ")


def test_only_cards_from_before_readings_were_counted_may_lack_them(finished: Artifact) -> None:
    change_card(finished, lambda card: card.pop("test_readings"))
    faults = list(unmeasured.faults(finished.read_card()))
    assert faults == ["test_readings: the card does not have them"]

    def forget_calibrations(card: dict[str, Any]) -> None:
        for file in card["files"].values():
            del file["temperature"], file["exponent"], file["certainty"]

    change_card(finished, forget_calibrations)
    assert list(unmeasured.faults(finished.read_card())) == []


@pytest.fixture
def spread(finished: Artifact) -> dict[str, Any]:
    """The JSON of a card with a second seed, whose figures are a little better."""
    card = finished.read_card()
    other = card.model_copy(update={
        "training": card.training.model_copy(update={"seed": card.training.seed + 1}),
        "metrics": {
            file: {
                name: figures.model_copy(update={"accuracy": figures.accuracy + 0.01})
                for name, figures in of_split.items()
            }
            for file, of_split in card.metrics.items()
        },
    })  # fmt: skip
    values = card.model_copy(update=seeds.spreads([card, other])._asdict()).to_json()
    return values | {"test_readings": {"run": 1, "all_runs": 2}}


def test_right_spread_has_no_fault(spread: dict[str, Any]) -> None:
    assert list(unmeasured.faults(Card.model_validate(spread))) == []


@pytest.mark.parametrize("field", ["seeds", "seeds_as_served"])
@pytest.mark.parametrize(
    ("figure", "value", "words"),
    [
        ("mean", 0.99, "accuracy: mean, deviation and interval are not those of the seeds"),
        ("standard_deviation", 0.0, "accuracy: mean, deviation and interval are not those"),
        ("interval", [0.1, 0.2], "accuracy: mean, deviation and interval are not those"),
        ("values", [0.5], "accuracy: mean, deviation and interval are not those of the seeds"),
    ],
)
def test_invented_spread_is_found(
    spread: dict[str, Any], field: str, figure: str, value: object, words: str
) -> None:
    spread[field][INT8]["test"]["accuracy"][figure] = value
    (fault,) = unmeasured.faults(Card.model_validate(spread))
    assert fault.startswith(f"{field} {INT8} test {words}")


def test_spread_of_other_seeds_than_the_published_one_is_found(spread: dict[str, Any]) -> None:
    spread["seeds"][INT8]["test"]["seeds"] = [7, 8]
    (fault,) = unmeasured.faults(Card.model_validate(spread))
    assert fault == f"seeds {INT8} test: the first seed is not 0, which was published"


def test_spread_around_other_figures_than_those_of_the_card_is_found(
    spread: dict[str, Any],
) -> None:
    spread["metrics"][INT8]["test"]["log_loss"] += 0.5
    faults = list(unmeasured.faults(Card.model_validate(spread)))
    assert faults == [
        f"{field} {INT8} test log_loss: the value of seed 0 is not that of the card"
        for field in ("seeds", "seeds_as_served")
    ]


def test_fewer_readings_than_seeds_are_found(spread: dict[str, Any]) -> None:
    spread["test_readings"]["all_runs"] = 1
    (fault,) = unmeasured.faults(Card.model_validate(spread))
    assert fault.startswith("test_readings: 1 for the run and 1 for all runs")


@pytest.mark.parametrize("path", [("seeds_as_served",), ("seeds", INT8, "test")])
def test_missing_spread_is_found(spread: dict[str, Any], path: tuple[str, ...]) -> None:
    place = spread
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    (fault,) = unmeasured.faults(Card.model_validate(spread))
    assert "the card does not have " in fault
