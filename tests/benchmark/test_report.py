"""What is made of the measurements."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmark import report
from tests.benchmark.contestants import CONSTANT, IN_FULL, PLAIN, SERVICE, WITH_VIEWS
from tests.benchmark.figures import ideal_per_s, targets
from tests.benchmark.load import AT_64, LARGE, LONE, MEDIUM, RAW, Load
from tests.benchmark.report import Run
from tests.benchmark.rounds import SERVICE_CASES, Ceilings, Round


def load(requests_per_s: float, p99_ms: float = 20) -> Load:
    return Load(
        requests_per_s,
        p50_ms=1000 / requests_per_s,
        p99_ms=p99_ms,
        failed=0,
        cpu_ms=1,
        memory_mb=100,
        batch_size=None,
        balance=0.9,
    )


def round_(ours: float = 900) -> Round:
    """HTTP at 9,000 and computing at 1,000 pictures a second: together 900."""
    loads = {
        CONSTANT: {case.name: load(9000) for case in (LONE, AT_64, RAW)},
        SERVICE: {case.name: load(ours, p99_ms=10) for case in SERVICE_CASES},
        WITH_VIEWS: {AT_64.name: load(750), MEDIUM.name: load(450)},
        IN_FULL: {case.name: load(300) for case in (MEDIUM, LARGE)},
        "LitServe": {AT_64.name: load(300)},
        "Ray Serve": {AT_64.name: load(450)},
        PLAIN: {AT_64.name: load(600)},
    }
    return Round(
        Ceilings({"1": 800, "32": 1000}, {"1": 1200}, lone_ms=1.0),
        loads,
        start_s=dict.fromkeys(loads, 1.0),
        worker_mb=150,
        kept=0.9,
    )


RUN = Run(
    facts={"model": "cifar10/1/model.onnx"},
    precision="float32",
    flags=["avx512_vnni"],
    versions={"LitServe": "1.2.3"},
    failures={"MLServer": "it ended with status 1: no such file"},
    rounds=[round_(), round_(1000), round_(800)],
)


def test_ideal_adds_up_what_http_and_computing_cost_alone() -> None:
    assert ideal_per_s(round_(), AT_64) == pytest.approx(900)


def test_service_is_compared_with_the_best_framework() -> None:
    best, ideal, p99, plain, *_ = targets("float32", [])
    assert best.value(round_()) == pytest.approx(2)
    assert ideal.value(round_(1000)) == pytest.approx(2)
    assert p99.value(round_()) == pytest.approx(0.5)
    assert plain.value(round_()) == pytest.approx(1.5)


def test_figure_without_its_servers_is_left_out() -> None:
    alone = replace(round_(), loads={SERVICE: round_().loads[SERVICE]})
    best, ideal, _, plain, *_ = targets("int8", [])
    assert best.value(alone) is None
    assert ideal.value(alone) is None
    assert plain.value(alone) is None


@pytest.mark.parametrize(
    ("precision", "flags", "bounds"),
    [
        ("float32", ["amx_int8", "avx512_vnni"], (1.7, None)),
        ("int8", ["avx512_vnni"], (1.65, 1.52)),
        ("int8", ["amx_int8", "avx512_vnni"], (1.95, 1.95)),
    ],
)
def test_target_depends_on_the_file_and_the_processor(
    precision: str, flags: list[str], bounds: tuple[float, float | None]
) -> None:
    best, _, _, plain, *_ = targets(precision, flags)
    assert (best.bound, plain.bound) == bounds


def test_figures_give_the_median_its_spread_and_whether_it_is_reached() -> None:
    row = report.figures(RUN).loc["multipart, requests/s against the ideal"]
    assert list(row) == ["1.00x", "0.89x", "1.11x", ">= 0.95x", "reached"]
    slow = report.figures(replace(RUN, rounds=[round_(800)]))
    assert slow.loc["multipart, requests/s against the ideal", ""] == "MISSED"


def test_figure_without_a_bound_is_printed_without_a_verdict() -> None:
    row = report.figures(RUN).loc["the ideal, requests/s against that framework"]
    assert list(row) == ["2.00x", "2.00x", "2.00x", "", ""]


def test_cost_of_second_views_and_closer_looks_is_among_the_figures() -> None:
    table = report.figures(replace(RUN, rounds=[round_()]))
    assert table.loc["with second views, requests/s", "figure"] == "0.83x"
    assert table.loc["500x375 with closer looks, requests/s", "figure"] == "0.50x"


def test_overload_is_among_the_figures() -> None:
    row = report.figures(RUN).loc["five times what fills the queues, answers against the peak"]
    assert list(row) == ["0.90x", "0.90x", "0.90x", ">= 0.95x", "MISSED"]


def test_report_says_which_peer_is_missing_and_why() -> None:
    text = report.text(RUN)
    assert "MLServer is missing: it ended with status 1: no such file" in text
    assert "LitServe 1.2.3, 64 connections" in text


def test_table_for_the_readme_has_a_row_for_each_figure() -> None:
    lines = report.markdown(RUN).splitlines()
    row = (
        "| multipart, requests/s against the ideal | 1.00x | 0.89x to 1.11x | >= 0.95x | reached |"
    )
    assert row in lines
    assert {line.count("|") for line in lines if line.startswith("|")} == {6}
    assert "model: cifar10/1/model.onnx" in lines[-1]


def test_everything_is_written(tmp_path: Path) -> None:
    report.write(RUN, tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["rounds"][1]["loads"][SERVICE][AT_64.name]["requests_per_s"] == 1000
    assert (tmp_path / "run" / "chart.png").read_bytes().startswith(b"\x89PNG")
