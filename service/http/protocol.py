"""HTTP on one connection: uvicorn's own protocol, with the bounds that it lacks."""

import asyncio
import logging
import re
import uuid
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from service.errors import HeadTooLargeError, MalformedRequestError, ServiceError, SlowHeadError
from service.http import problems
from service.http.context import RequestContext
from service.settings import Settings

# The parser would drop the body of a request that offers another protocol, as some clients do with
# HTTP/2. A server may ignore the offer.
_UPGRADE = re.compile(rb"\r\nUpgrade:", re.IGNORECASE)

logger = logging.getLogger(__name__)


class BoundedProtocol(HttpToolsProtocol):
    """Cuts off who holds a connection and asks nothing of it.

    Uvicorn waits for ever for a client that connects and stays silent, dribbles the head of its
    request, sends one without end, goes on with a body that has been refused, or does not read its
    answer. Here one timer runs whenever the next move is the client's and no body is awaited; for
    the body there is a middleware.
    """

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Takes its bounds from the settings of the app that is served."""
        super().__init__(config, *args, **kwargs)
        settings: Settings = config.app.state.model_server.settings  # type: ignore[union-attr]
        self._max_bytes = settings.max_head_bytes
        self._max_seconds = settings.head_timeout_ms / 1000
        self._timer: asyncio.TimerHandle | None = None
        self._received = 0  # bytes since the last request was complete
        self._framing = 0  # bytes since the last piece of the body
        self._in_body = False
        self._refused = False
        self._running: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts to wait for a request."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more, and tells the app."""
        self._stop_timer()
        # Uvicorn tells the last of several requests, which may wait for this one.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
            context: RequestContext | None = self._running.scope["state"].get("context")
            if context is not None and context.on_disconnect is not None:
                context.on_disconnect()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes in what the client sends, and drops it once the client has been refused."""
        if self._refused:
            return
        self._received += len(data)
        self._framing += len(data)
        super().data_received(data if self._in_body else _without_upgrade(data))
        if (self._framing if self._in_body else self._received) > self._max_bytes:
            self._refuse(self._malformed())
        elif self._timer is None and not self._owes_answer():
            self._start_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes in a header, and drops one that comes after the body."""
        if not self._in_body:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Takes in a piece of the body."""
        self._framing = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Hands a request on to the app."""
        # What was received may be a large part of the body, too.
        if self._received > self._max_bytes:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > self._max_bytes:
                raise self._malformed()  # which ends in send_400_response
        self._stop_timer()
        self._in_body = True
        self._framing = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Notes that a request has arrived."""
        super().on_message_complete()
        self._stop_timer()
        self._in_body = False
        self._received = 0
        if not self.pipeline:
            # Uvicorn pauses after a large piece of a body; who does not read misses a client's end.
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        """Starts to wait for a client that does not read."""
        super().pause_writing()
        self._start_timer()

    def resume_writing(self) -> None:
        """Goes on with a client that reads again."""
        super().resume_writing()
        self._stop_timer()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Refuses what is no HTTP."""
        self._refuse(self._malformed())

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _owes_answer(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _malformed(self) -> ServiceError:
        if not self._in_body and self._received > self._max_bytes:
            return HeadTooLargeError(
                f"The head of the request is over the limit of {self._max_bytes:,} bytes; "
                "send fewer or shorter headers."
            )
        return MalformedRequestError("That is no HTTP request that can be understood; correct it.")

    def _refuse(self, error: ServiceError) -> None:
        """Answers in the place of the app, and ends the connection."""
        if self._refused:
            return
        self._refused = True
        if self._owes_answer():
            if not self._in_body or self.cycle.response_started:
                self.transport.abort()  # the answer would be taken for that of another request
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        problem = problems.describe(error, uuid.uuid4().hex)
        response = problems.respond(problem, path="", headers={"Connection": "close"})
        headers = [*self.server_state.default_headers, *response.raw_headers]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[problem.status] + lines + b"\r\n" + response.body)
        # Not closed yet: what still arrives would make the kernel drop the answer.
        self.transport.write_eof()
        self._start_timer()
        fields = {
            "status": problem.status,
            "detail": problem.detail,
            "request_id": problem.request_id,
            "client": self.client[0] if self.client else "unknown",
        }
        logger.info("refused", extra={"fields": fields})

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self._max_seconds, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self._refused or self._in_body or not self._received:
            self.transport.abort()
        else:
            self._refuse(
                SlowHeadError(
                    f"The head of the request took longer than {self._max_seconds:g} s to arrive; "
                    "send it in one piece."
                )
            )


def _without_upgrade(data: bytes) -> bytes:
    """Hides an offer of another protocol in the head of a request."""
    end = data.find(b"\r\n\r\n")
    end = len(data) if end < 0 else end
    if not _UPGRADE.search(data, 0, end):
        return data
    return _UPGRADE.sub(b"\r\nX-Upgrade:", data[:end]) + data[end:]
