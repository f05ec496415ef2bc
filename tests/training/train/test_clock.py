from pathlib import Path

import pytest

from training.train import clock
from training.train.clock import Clock, Spent


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the clocks of the machine show."""
    shown = {"elapsed": 1000.0, "processor": 500.0}
    monkeypatch.setattr(clock, "_now", lambda epoch: Spent(epoch, *shown.values()))
    return shown


def test_both_clocks_run(tmp_path: Path) -> None:
    own = Clock(tmp_path / "clock.json")
    own.start(0)
    sum(range(100_000))
    assert own.spent().seconds > 0
    assert own.spent().processor_seconds > 0


def pass_time(times: dict[str, float], elapsed: float, processor: float) -> None:
    times["elapsed"] += elapsed
    times["processor"] += processor


def test_epoch_that_is_interrupted_counts_from_its_begin(
    tmp_path: Path, times: dict[str, float]
) -> None:
    first = Clock(tmp_path / "clock.json")
    first.start(4)
    pass_time(times, 30, 50)
    first.save()
    pass_time(times, 99, 99)  # is lost with what was trained in it
    second = Clock(tmp_path / "clock.json")
    pass_time(times, 10, 15)  # to load the checkpoint
    second.start(4)
    pass_time(times, 3, 5)
    assert second.spent() == Spent(4, 33.0, 55.0)
    second.start(5)
    pass_time(times, 1, 2)
    assert second.spent() == Spent(5, 1.0, 2.0)


@pytest.mark.parametrize("text", [None, "", "[1]", '{"epoch": 3, "seconds": 9.0}'])
def test_epoch_of_which_nothing_is_known_counts_from_now(
    tmp_path: Path, times: dict[str, float], text: str | None
) -> None:
    if text is not None:
        (tmp_path / "clock.json").write_text(text)
    own = Clock(tmp_path / "clock.json")
    own.start(4)
    pass_time(times, 3, 5)
    assert own.spent() == Spent(4, 3.0, 5.0)
