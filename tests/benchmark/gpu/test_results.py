"""What was found is printed, and written so that nothing is lost."""

import json
from pathlib import Path

from tests.benchmark.gpu.results import Finding, Part, Results


def test_finding_is_one_line_with_as_many_digits_as_mean_something() -> None:
    figures: dict[str, float | str | None] = {
        "pictures/s": 12_345.678,
        "p50 ms": 1.23456,
        "failed": 0,
        "on": "the GPU",
        "GPU %": None,
    }
    line = str(Finding("load", figures, "met"))
    assert line == "load: pictures/s 12,346, p50 ms 1.23, failed 0, on the GPU, GPU % none (met)"


def test_part_is_good_where_targets_are_missed_and_nothing_is_wrong() -> None:
    missed, wrong = Finding("speed", {}, "MISSED"), Finding("answers", {}, "WRONG")
    assert Part("part", [missed]).is_good
    assert not Part("part", [missed, wrong]).is_good
    assert not Part("part", [], error="it failed").is_good


def test_results_are_written_as_json_and_as_text(tmp_path: Path) -> None:
    part = Part("speed", [Finding("load", {"p50 ms": 2.5}, "MISSED")], "it failed", 1.5)
    Results(tmp_path / "new", {"provider": "cpu"}, [part]).write()
    assert json.loads((tmp_path / "new" / "results.json").read_text()) == {
        "facts": {"provider": "cpu"},
        "parts": [
            {
                "name": "speed",
                "findings": [{"name": "load", "figures": {"p50 ms": 2.5}, "verdict": "MISSED"}],
                "error": "it failed",
                "seconds": 1.5,
            }
        ],
    }
    text = (tmp_path / "new" / "report.txt").read_text()
    assert text == "provider: cpu\n\nspeed\n  load: p50 ms 2.5 (MISSED)\n  FAILED: it failed\n"
