import pytest

from training.measure.metrics import Metrics
from training.measure.second_view import ServedMetrics
from training.publish import artifact, seeds
from training.publish.card import Card
from training.train.checkpoint import Run

INT8 = "model.int8.onnx"


def figures(accuracy: float) -> Metrics:
    return Metrics(
        accuracy=accuracy,
        pictures=40,
        log_loss=1 - accuracy,
        expected_calibration_error=accuracy / 10,
        unfamiliar_share=0.05,
    )


@pytest.fixture
def cards(trained: Run) -> list[Card]:
    """Three seeds, of which the last has no second views in int8 and the second no fp16 file."""
    card = artifact.of_run(trained.folder).read_card()
    made = []
    for seed in range(3):
        metrics = {name: {"test": figures(0.5 + seed / 10)} for name in card.files}
        served = {"test": ServedMetrics(**dict(figures(0.9)), second_views=0.1)}
        if seed == 1:
            del metrics["model.fp16.onnx"]
        made.append(
            card.model_copy(
                update={
                    "training": card.training.model_copy(update={"seed": seed}),
                    "metrics": metrics,
                    "as_served": {INT8: served} if seed < 2 else None,
                }
            )
        )
    return made


def test_one_seed_has_no_spread(cards: list[Card]) -> None:
    assert seeds.spreads(cards[:1]) == (None, None)


def test_spread_is_of_each_file_that_seeds_have_in_common(cards: list[Card]) -> None:
    found, _ = seeds.spreads(cards)
    assert found is not None
    assert found[INT8]["test"].seeds == (0, 1, 2)
    assert found[INT8]["test"].accuracy.values == pytest.approx((0.5, 0.6, 0.7))
    assert found[INT8]["test"].log_loss.mean == pytest.approx(0.4)
    assert found[INT8]["test"].expected_calibration_error.mean == pytest.approx(0.06)
    assert found["model.fp16.onnx"]["test"].seeds == (0, 2)


def test_seed_without_second_views_is_served_with_one(cards: list[Card]) -> None:
    _, served = seeds.spreads(cards)
    assert served is not None
    assert served[INT8]["test"].accuracy.values == pytest.approx((0.9, 0.9, 0.7))
    assert served["model.onnx"]["test"].accuracy.values == pytest.approx((0.5, 0.6, 0.7))
