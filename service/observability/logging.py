"""Log lines: one JSON object each for machines, plain text for a terminal.

Facts that stay apart from the message are logged with `extra={"fields": {...}}`.
"""

import contextlib
import functools
import logging
import select
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO

from pydantic_core import to_json


def configure(level: str, format_: str, *, may_wait: int = 0) -> None:
    """Sends all logs to stderr.

    Args:
        level: least severe level that is logged.
        format_: `json`, `text`, or `auto`: text on a terminal, else json.
        may_wait: how many lines may wait until they are written together, which takes less time
            than one by one: by `flush`, by a warning, or at the end of the process.
    """
    as_text = format_ == "text" or (format_ == "auto" and sys.stderr.isatty())
    handler = _Handler(may_wait)
    handler.setFormatter(_TextFormatter() if as_text else _JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # What no line shows need not be found out for each: threads, processes, callers.
    logging.logThreads = logging.logProcesses = False
    logging.logMultiprocessing = False
    logging._srcfile = None
    # Its warnings are of what clients do wrong, which `protocol` logs.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def flush() -> None:
    """Writes what waits."""
    for handler in logging.getLogger().handlers:
        handler.flush()


class _Handler(logging.StreamHandler[TextIO]):
    """Writes what waits to stderr, many lines at a time."""

    def __init__(self, may_wait: int) -> None:
        super().__init__()
        self._may_wait = may_wait
        self._waiting: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._waiting.append(record)
        if len(self._waiting) > self._may_wait or record.levelno >= logging.WARNING:
            self.flush()

    def flush(self) -> None:
        self.acquire()
        try:
            records, self._waiting = self._waiting, []
            for piece in _pieces(map(self._line, records)):
                with contextlib.suppress(OSError, ValueError):  # it is full, or closed
                    self.stream.write(piece)
                    self.stream.flush()
        finally:
            self.release()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record) + self.terminator
        except Exception:
            self.handleError(record)
            return ""


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    """Joins lines, but no more than a pipe takes undivided: other processes write to it, too."""
    piece, size = "", 0
    for line in lines:
        length = len(line.encode(errors="replace"))
        if size + length > select.PIPE_BUF and piece:
            yield piece
            piece, size = "", 0
        piece += line
        size += length
    if piece:
        yield piece


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": f"{_second(int(record.created))}.{int(record.msecs):03}+00:00",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return to_json(line).decode()


@functools.lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        fields = getattr(record, "fields", {})
        return " ".join([super().formatMessage(record), *(f"{k}={v}" for k, v in fields.items())])
