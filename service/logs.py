"""Log lines: one JSON object each for machines, plain text for a terminal.

Facts that stay apart from the message are logged with `extra={"fields": {...}}`.
"""

import logging
import sys
from datetime import UTC, datetime
from logging.handlers import MemoryHandler

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
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(_TextFormatter() if as_text else _JsonFormatter())
    if may_wait:
        handler = MemoryHandler(may_wait, flushLevel=logging.WARNING, target=handler)
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


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return to_json(line).decode()


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        fields = getattr(record, "fields", {})
        return " ".join([super().formatMessage(record), *(f"{k}={v}" for k, v in fields.items())])
