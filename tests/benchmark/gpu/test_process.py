"""Parts run in processes of their own, each within its time."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.benchmark.gpu.__main__ import Limit, run_all
from tests.benchmark.gpu.process import run
from tests.benchmark.gpu.results import Finding, Part, Results

CPU = ("--provider", "cpu", "--quick")


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that starts another process, finds its number, and never ends."""
    script = tmp_path / "python"
    line = '{"name": "child", "figures": {"number": %d}}'
    script.write_text(f"#!/bin/sh\nsleep 60 &\nprintf '{line}\\n' $!\nwait\n")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))


def test_part_that_fails_says_why_and_the_others_are_run(tmp_path: Path) -> None:
    results = Results(tmp_path, {})
    run_all(results, [Limit("nothing", 20), Limit("machine", 20)], CPU)
    first, second = results.parts
    assert first.error
    assert "No module named 'tests.benchmark.gpu.parts.nothing'" in first.error
    assert second.is_good
    assert second.findings


@pytest.mark.usefixtures("endless")
def test_part_that_takes_too_long_is_killed_with_all_that_it_started() -> None:
    part = Part("machine")
    (child,) = run(part, (), 5)
    assert part.error == "it took longer than 5 s"
    number = int(str(child.figures["number"]))
    deadline = time.monotonic() + 5
    while _runs(number) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(number)


def test_part_for_which_no_time_is_left_is_not_run() -> None:
    part = Part("machine")
    assert list(run(part, CPU, 0)) == []
    assert part.error
    assert "no time was left" in part.error


@pytest.mark.usefixtures("endless")
def test_finding_is_written_while_its_part_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_all, Results(folder, {}), [Limit("machine", 60)], ())
        while not (folder / "results.json").exists():
            time.sleep(0.01)
            assert not running.done()
        (part,) = json.loads((folder / "results.json").read_text())["parts"]
        assert part["seconds"] is None
        finding = Finding(**part["findings"][0])
        assert finding.name == "child"
        psutil.Process(int(str(finding.figures["number"]))).kill()  # the part waits for it


def _runs(process: int) -> bool:
    """Whether it runs: its parent, which may be nobody, need not have taken note of its end."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
