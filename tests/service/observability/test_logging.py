"""Log lines as they come out."""

import json
import logging
import select
import sys
from collections.abc import Iterator

import pytest

from service.observability.logging import configure, flush


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # configure() closes what it replaces: not pytest's own
    yield
    root.handlers[:], root.level = handlers, level


def test_json_line_holds_message_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    logging.getLogger("x").info("request", extra={"fields": {"path": '/"\n', "status": 200}})
    logging.getLogger("x").debug("unseen")
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "info",
        "logger": "x",
        "message": "request",
        "path": '/"\n',
        "status": 200,
    }


def test_trace_stays_on_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        logging.getLogger("x").exception("unhandled error")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError" in json.loads(line)["exception"]


def test_collected_lines_are_written_together(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json", capacity=3)
    logger = logging.getLogger("x")
    logger.info("first")
    assert capsys.readouterr().err == ""
    flush()
    assert json.loads(capsys.readouterr().err)["message"] == "first"
    logger.info("second")
    logger.warning("third")
    logger.info("fourth")
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["second", "third"]


def test_no_line_is_divided_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(sys.stderr, "write", written.append)
    configure("info", "json", capacity=1000)
    for number in range(100):
        logging.getLogger("x").info("é" * number)
    logging.getLogger("x").info("x" * 10_000)
    flush()
    assert len(written) < 20
    assert all(piece.endswith("\n") for piece in written)
    assert all(len(piece.encode()) <= select.PIPE_BUF for piece in written[:-1])
    assert len("".join(written).splitlines()) == 101


def test_record_that_cannot_be_formatted_loses_no_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    configure("info", "json", capacity=1000)
    logging.getLogger("x").info("first")
    logging.getLogger("x").info("second %d", "no number")
    logging.getLogger("x").info("third")
    flush()
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["first", "third"]


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "text")
    logging.getLogger("x").info("request", extra={"fields": {"status": 200}})
    assert capsys.readouterr().err.endswith("INFO    request status=200\n")


def test_auto_is_json_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "auto")
    logging.getLogger("x").info("ready")
    assert json.loads(capsys.readouterr().err)["message"] == "ready"
