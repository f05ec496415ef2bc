"""The measurements of overload and of growth measure what they say, in small."""

import http.server
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmark.large_pictures import Beside, report_beside
from tests.benchmark.load import RAW, Answers, Wrk
from tests.benchmark.overload import PROBES, Plan, Round, measure, report
from tests.benchmark.pictures import SMALL, make_mixed_pictures
from tests.benchmark.servers import Probe, Server
from tests.benchmark.soak import soak
from tests.benchmark.visitors import Answer, Visitor, recovery_s

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
PICTURE = make_mixed_pictures()[0]


class Full(http.server.BaseHTTPRequestHandler):
    """Answers every request as a service that is full."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Server]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Full)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    known = Server("full", (), tmp_path, Probe(PICTURE))
    known.port = server.server_port
    yield known
    server.shutdown()
    server.server_close()
    thread.join()


@needs_wrk
@pytest.mark.parametrize("late", [False, True])
def test_clients_come_again_when_they_were_told_to(
    full: Server, tmp_path: Path, late: bool
) -> None:
    case = replace(RAW, connections=5)
    answers = Wrk(tmp_path, {SMALL: [PICTURE]}).answers(full, case, seconds=3, late=late)
    assert set(answers.statuses) == {503}
    assert 5 < answers.statuses[503] <= 20
    assert answers.broken == 0


def test_visitor_keeps_each_answer(full: Server) -> None:
    with Visitor(full, "/predict", RAW.form([PICTURE]), every_s=0.01) as visitor:
        while len(visitor.answers) < 3:
            pass
    assert {(answer.status, answer.retry_after) for answer in visitor.answers} == {(503, 1)}
    assert all(0 < answer.ms < 30_000 for answer in visitor.answers)


def test_visitor_survives_a_service_that_is_gone(tmp_path: Path) -> None:
    gone = Server("gone", (), tmp_path, Probe(PICTURE))
    gone.port = 1
    with Visitor(gone, "/") as visitor:
        while not visitor.answers:
            pass
    assert visitor.answers[0].status == 0


def test_recovery_is_when_the_last_slow_quarter_of_a_second_is_over() -> None:
    def answers(slow_until: float) -> list[Answer]:
        times = [10 + i / 20 for i in range(60)]
        return [Answer(at, 200, 50.0 if at < slow_until else 5.0, None) for at in times]

    assert recovery_s(answers(slow_until=0), 10, normal_ms=10) == 0
    assert recovery_s(answers(slow_until=11.2), 10, normal_ms=10) == 1.25
    assert recovery_s(answers(slow_until=99), 10, normal_ms=10) >= 2.5


def made_up(per_s: float = 95, ms: float = 10, status: int = 200, recovery: float = 0) -> Round:
    probes = [Answer(0, status, ms, None)] * 10
    load = Answers(2, {200: int(2 * per_s), 503: 100}, broken=0)
    picture = [Answer(0, 200, 700, None), Answer(0, 503, ms, 3)]
    return Round(load, (90, 110), per_s, picture, dict.fromkeys(PROBES, probes), recovery)


def verdicts(*rounds: Round) -> list[str]:
    return [line.split("   ")[-1].split(" (")[0] for line in report(rounds) if "(" in line]


def test_report_says_what_was_met() -> None:
    assert verdicts(made_up()) == ["met"] * 6
    assert "Retry-After from 3 to 3 s" in "".join(report([made_up()]))


@pytest.mark.parametrize(
    ("bad", "missed"),
    [
        (made_up(per_s=89), [0]),
        (made_up(ms=70), [1]),
        (made_up(ms=120), [1, 2, 3]),
        (made_up(status=503), [2, 3]),
        (made_up(recovery=2.25), [4]),
        (replace(made_up(), load=Answers(2, {200: 190}, broken=1)), [5]),
        (replace(made_up(), load=Answers(2, {200: 190, 500: 1}, broken=0)), [5]),
    ],
)
def test_report_says_what_was_missed(bad: Round, missed: list[int]) -> None:
    found = verdicts(bad)
    assert [i for i, verdict in enumerate(found) if verdict == "MISSED"] == missed


def beside(ms: float = 5, late_ms: float = 20, status: int = 200) -> Beside:
    def answers(*all_ms: float) -> list[Answer]:
        return [Answer(at, status, ms, None) for at, ms in enumerate(all_ms)]

    large = [Answer(1, 200, 900, None), Answer(3, 200, 900, None), Answer(4, 503, 2, 1)]
    return Beside("PNG", answers(*[2] * 50), answers(*[ms] * 90, *[late_ms] * 10), large, 300)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (beside(), ["met", "met"]),
        (beside(ms=7), ["MISSED", "met"]),
        (beside(late_ms=60), ["met", "MISSED"]),
        (beside(status=503), ["MISSED", "MISSED"]),
    ],
)
def test_report_says_what_small_pictures_wait(seen: Beside, expected: list[str]) -> None:
    lines = list(report_beside(seen))
    found = [line.split("   ")[-1].split(" (")[0] for line in lines if " (" in line]
    assert found == expected
    assert "2 answered, 1 refused, 0 otherwise, longest gap 2.0 s" in lines[-1]


@needs_wrk
@pytest.mark.long
def test_overload_of_the_service_is_measured(tmp_path: Path) -> None:
    lines = list(
        measure(
            tmp_path,
            Plan(rounds=1, seconds=1, peak_s=1, rest_s=1, kinds=1, beside_s=1, ladder=(2,)),
        )
    )
    figures = [line for line in lines if "met (" in line or "MISSED (" in line]
    # In so short a time the client who sends pictures may meet no refusal.
    assert len(figures) + lines.count("  refusals: none") >= 18
    assert "now 2560:" in "".join(lines)
    assert any(line.startswith("  second views: ") for line in lines)


@needs_wrk
def test_soak_sends_what_it_is_told_to(tmp_path: Path) -> None:
    lines = list(soak(tmp_path, 400))
    assert [line.split(" requests")[0].split()[0] for line in lines[1:3]] == ["after", "after"]
    assert int(lines[2].split()[1].replace(",", "")) >= 400
    assert "200: " in lines[3]
    assert lines[-1].strip().startswith("met: no connection broken")
