"""Servers are started, asked, measured and ended."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.benchmark.constant import ANSWER
from tests.benchmark.environments import ROOT
from tests.benchmark.load import BATCH, RAW, Wrk
from tests.benchmark.loopback import sum_of_samples
from tests.benchmark.pictures import CIFAR10, SMALL
from tests.benchmark.servers import Probe, Server, StartError, first_label

PICTURE = next(CIFAR10.glob("cat/*.jpg")).read_bytes()
LABELS = ["dog", "cat"]


def constant(scratch: Path, expected: str = "cat", module: str = "constant") -> Server:
    command = (sys.executable, "-m", f"tests.benchmark.{module}")
    return Server("constant", command, scratch / "server", Probe(PICTURE, LABELS, expected))


def test_server_answers_while_it_runs_and_leaves_no_process_behind(tmp_path: Path) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with constant(tmp_path) as server:
        assert server.ask("/nothing")[0] == 404
        assert server.start_s > 0
        assert sum(server.cpu_s().values()) > 0
        # One process is a part of all.
        assert server.largest_process_mb() > 0
        during = {process.pid for process in psutil.Process().children(recursive=True)}
    assert len(during - before) == len(os.sched_getaffinity(0))
    assert not any(psutil.pid_exists(pid) for pid in during - before)


def test_wrong_answer_is_a_failed_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="and not dog"), constant(tmp_path, expected="dog"):
        pass


def test_server_that_ends_is_a_failed_start_that_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(StartError, match=r"status 1: .*No module named"),
        constant(tmp_path, module="nothing"),
    ):
        pass


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_load_counts_good_answers_and_failures(tmp_path: Path) -> None:
    wrk = Wrk(tmp_path, {SMALL: [PICTURE] * 3})
    with constant(tmp_path) as server:
        load = wrk.run(server, RAW, seconds=1)
        assert load.failed == 0
        assert load.requests_per_s > 0
        assert 0 < load.p50_ms <= load.p99_ms
        assert load.cpu_ms > 0
        assert load.batch_size is None
        assert 0 <= load.balance <= 1
        with pytest.raises(RuntimeError, match="answered no request"):
            wrk.run(server, BATCH, seconds=1)  # which it does not offer


def test_first_label_is_the_first_that_is_named() -> None:
    assert first_label(ANSWER.decode(), ["frog", "dog", "cat"]) == "cat"
    assert first_label('{"model":"cats"}', ["cat"]) is None


def test_samples_of_all_processes_are_added_up() -> None:
    text = 'batch_sum{pid="1"} 3.0\nbatch_sum{pid="2"} 4.0\nbatch_sum_created 5.0\n'
    assert sum_of_samples(text, "batch_sum") == 7


def test_second_views_are_told_apart_by_their_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = "classifier_second_views_total"
    text = (
        f"# TYPE {metric} counter\n"
        f'{metric}{{model="a",outcome="computed"}} 3.0\n'
        f'{metric}{{model="a",outcome="skipped"}} 4.0\n'
        f'{metric}{{model="b",outcome="computed"}} 5.0\n'
    )
    server = constant(tmp_path)
    monkeypatch.setattr(server, "ask", lambda _path: (200, text))
    assert server.second_views() == (8, 4)


def test_service_decodes_in_full_with_the_folder_on_its_path() -> None:
    script = (
        "import pathlib, sys; from service.inference.decoding import decode;"
        "from service.inference.pictures.scaling import OVERSAMPLING;"
        "data = pathlib.Path(sys.argv[1]).read_bytes();"
        "print(decode(data, 10**6, OVERSAMPLING * 32).image.size)"
    )
    cat = CIFAR10.parents[1] / "cat.jpg"
    sizes = [
        subprocess.run(
            [sys.executable, "-c", script, str(cat)],
            env={**os.environ, "PYTHONPATH": f"{ROOT}{path}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for path in ("", f":{Path(__file__).parent / 'full_decoding'}")
    ]
    assert sizes == ["(113, 75)", "(451, 300)"]
