"""Log lines: JSON objects for machines, or plain text for a terminal.

Values that are not part of the message are logged with `extra={"fields": {...}}`.
"""

import contextlib
import functools
import logging
import select
import sys
import time
from collections.abc import Iterable, Iterator
from logging.handlers import MemoryHandler

from pydantic_core import to_json


def configure(level: str, format_: str, *, capacity: int = 1) -> None:
    """Writes all logs to stderr.

    Args:
        level: least severe level that is logged.
        format_: `json`, `text`, or `auto`: text on a terminal, else json.
        capacity: how many lines are collected before they are written together, which takes less
            time. `flush`, a warning or worse, and the end of the process write them earlier.
    """
    as_text = format_ == "text" or (format_ == "auto" and sys.stderr.isatty())
    handler = _JoiningHandler(capacity, flushLevel=logging.WARNING)
    text = _TextFormatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    handler.setFormatter(text if as_text else _JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # No line shows the thread or the process: they need not be looked up.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # Its warnings are about malformed requests, which `protocol` logs.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("grpc").setLevel(logging.WARNING)


def flush() -> None:
    """Writes the lines that were collected."""
    for handler in logging.getLogger().handlers:
        handler.flush()


class _JoiningHandler(MemoryHandler):
    """Collects records and writes their lines to stderr, joined.

    The library's own `flush` passes each record on, to be written by itself.
    """

    def flush(self) -> None:
        self.acquire()
        try:
            records, self.buffer = self.buffer, []
            for piece in _join(map(self._line, records)):
                with contextlib.suppress(OSError, ValueError):  # the disk is full, or it is closed
                    sys.stderr.write(piece)
                    sys.stderr.flush()
        finally:
            self.release()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record) + "\n"
        except Exception:
            self.handleError(record)
            return ""


def _join(lines: Iterable[str]) -> Iterator[str]:
    """Joins lines to pieces that a pipe takes whole, so that lines of processes do not mix."""
    piece = ""
    for line in lines:
        if piece and len((piece + line).encode(errors="replace")) > select.PIPE_BUF:
            yield piece
            piece = ""
        piece += line
    if piece:
        yield piece


class _JsonFormatter(logging.Formatter):
    """Makes a line in 2 us, where python-json-logger 4.2 with orjson takes 6."""

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
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        fields = getattr(record, "fields", {})
        return " ".join([super().formatMessage(record), *(f"{k}={v}" for k, v in fields.items())])
