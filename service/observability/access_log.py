"""One line of the log for each request, in every protocol."""

import logging
import random
import re
from typing import Any

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def write(
    logger: logging.Logger,
    level: int,
    status: dict[str, Any],
    seconds: float,
    fields: dict[str, Any],
) -> None:
    """Writes the line of a request.

    Args:
        logger: the logger of its protocol.
        level: the severity, as of `logging`.
        status: how it ended, in the words of its protocol.
        seconds: how long it took.
        fields: what else is known of it.
    """
    if logger.isEnabledFor(level):
        fields = {**status, "duration_ms": round(seconds * 1000, 2), **fields}
        # `logger.log` would look for its caller, which no line shows.
        record = logger.makeRecord(
            logger.name, level, "", 0, "request", (), None, extra={"fields": fields}
        )
        logger.handle(record)


def request_id(sent: str | None) -> str:
    """The id that the client has sent, if it is acceptable; else a new one."""
    return sent if sent and _REQUEST_ID.fullmatch(sent) else new_request_id()


def new_request_id() -> str:
    """A random id; it is not secret, so it does not need the kernel's random bytes like `uuid4`."""
    return f"{random.getrandbits(128):032x}"


def trace_id(sent: str | None) -> str | None:
    """The trace of the request by its `traceparent` (W3C Trace Context)."""
    parent = _TRACE_PARENT.fullmatch(sent) if sent else None
    return parent[1] if parent else None


def key_name(digest: bytes) -> str:
    """What the log calls an API key: the part of its digest that tells a few keys apart."""
    return digest.hex()[:8]
