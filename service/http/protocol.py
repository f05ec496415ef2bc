"""HTTP on one connection: uvicorn's protocol with limits of size and time."""

import asyncio
import time
from typing import Any, NamedTuple

import httptools
from uvicorn._types import ASGI3Application, ASGIReceiveEvent
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from service.errors import HeadTooLargeError, MalformedRequestError, ServiceError, SlowHeadError
from service.http import problems
from service.http.context import RequestContext
from service.http.head_validation import check_head
from service.http.interruptible_receive import InterruptibleReceive
from service.http.joining import JoiningTransport
from service.http.lingering import LingeringTransport
from service.http.middleware.access_log import AccessLog
from service.observability.access_log import new_request_id
from service.settings import Settings


class BoundedProtocol(HttpToolsProtocol):
    """Reads requests from one connection and runs the app for each of them, in their order.

    Slow, endless and unread connections are closed. One timer runs whenever the client has to act
    next and no body is awaited; the time and the size of a body are limited by a middleware.

    A head that is not valid is refused after the answers to the requests before it. A body that is
    not valid makes the app's `receive` raise a `MalformedRequestError`. Both close the connection.
    An offer of another protocol (`Upgrade`) is ignored, as RFC 9110 (7.8) allows.
    """

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Takes its limits from the settings of the app that is served."""
        super().__init__(config, *args, **kwargs)
        state = config.app.state  # type: ignore[union-attr]
        settings: Settings = state.model_server.settings
        self._access_log: AccessLog = state.access_log
        self._max_bytes = settings.max_head_bytes
        self._max_seconds = settings.head_timeout_ms / 1000
        self._timer: asyncio.TimerHandle | None = None
        self._started_at = 0.0  # when the first bytes of a request arrived
        self._received = 0  # bytes since the last request was complete
        self._framing = 0  # bytes since the last piece of the body
        self._in_body = False
        self._ignores_input = self._is_lingering = False
        self._refusal: _Refusal | None = None
        self._running: RequestResponseCycle | None = None
        self.url = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts to wait for a request."""
        super().connection_made(transport)
        self._answers = JoiningTransport(transport)
        self.transport = LingeringTransport(self._answers, self._linger)  # type: ignore[assignment]
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timer and tells the app."""
        self._stop_timer()
        # Uvicorn tells the last of several requests, which may wait for this one.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
            context: RequestContext | None = self._running.scope["state"].get("context")
            if context is not None:
                context.disconnected = True
                if context.on_disconnect is not None:
                    context.on_disconnect()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what the client sends, until the connection is to be closed."""
        self._unset_keepalive_if_required()
        while data and not self._ignores_input:
            piece = data
            if not self._in_body:
                if not self._received:
                    self._started_at = time.perf_counter()
                # The same heads are too large however they are cut into segments.
                room = self._max_bytes - self._received
                if room <= 0:
                    self._refuse(self._head_too_large())
                    return
                piece = data[:room]
            data = data[len(piece) :]
            self._received += len(piece)
            self._framing += len(piece)
            self._parse(piece)
            if self._in_body:
                self._watch_body()
                if self._framing > self._max_bytes:
                    self._refuse(MalformedRequestError("The chunks or trailers are too long."))
        if self._timer is None and not self._ignores_input and not self._owes_answer():
            self._start_timer()

    def on_headers_complete(self) -> None:
        """Checks the head of a request, and starts the app or queues the request."""
        if self._in_body:
            return  # the head that stands in for one with an offer, see `_ignore_offer`
        version = self.parser.get_http_version()
        check_head(self.parser.get_method(), version, self.headers)
        if version == "1.0":
            self.expect_100_continue = False  # RFC 9110, 10.1.1
        super().on_headers_complete()
        self.headers = []  # what comes now is a trailer, which the app does not see
        self._stop_timer_for_input()
        self._in_body = True
        self._framing = 0

    def on_body(self, body: bytes) -> None:
        """Takes a piece of the body."""
        self._framing = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Ends the body of a request."""
        if self.parser.should_upgrade():
            return  # the parser has not read the body yet, see `_ignore_offer`
        super().on_message_complete()
        self._stop_timer_for_input()
        self._in_body = False
        self._received = 0
        if not self.pipeline:
            # Uvicorn pauses after a large piece of a body. While it does not read, it does not
            # notice that the client disconnects.
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Starts the next request, or writes the refusal that was waiting for this answer."""
        self._answers.end_answer()
        super().on_response_complete()
        if self._refusal is not None and not self._owes_answer():
            self._write_refusal(self._refusal)

    def pause_writing(self) -> None:
        """Starts to wait for a client that does not read."""
        super().pause_writing()
        self._start_timer()

    def resume_writing(self) -> None:
        """Stops to wait for a client that reads again."""
        super().resume_writing()
        if not self._is_lingering:
            self._stop_timer()

    def shutdown(self) -> None:
        """Closes the connection once its requests are answered; called when the server stops."""
        super().shutdown()
        if self._is_lingering:
            self.transport.close()

    def _should_upgrade(self) -> bool:
        return False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _owes_answer(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _parse(self, data: bytes) -> None:
        rest: bytes | memoryview = data
        try:
            while rest:
                try:
                    self.parser.feed_data(rest)
                    return
                except httptools.HttpParserUpgrade as offer:
                    rest = memoryview(rest)[offer.args[0] :]
                    self._ignore_offer()
        except httptools.HttpParserError as error:
            # What a callback raises is the context of the parser's own error.
            refusal = error.__context__
            if not isinstance(refusal, ServiceError):
                refusal = MalformedRequestError(f"The request is not valid HTTP: {error}.")
            self._refuse(refusal)

    def _ignore_offer(self) -> None:
        """Reads the body of a request that offers another protocol.

        The parser ends such a request with its head, and takes what follows for that protocol. A
        fresh parser is given a head that says the same of the body and makes no offer.
        """
        headers = self.cycle.scope["headers"]
        framing = (b"content-length", b"transfer-encoding")
        lines = [b"%b: %b\r\n" % header for header in headers if header[0] in framing]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(lines))

    def _watch_body(self) -> InterruptibleReceive[ASGIReceiveEvent]:
        """Puts a `receive` that can raise in place, before the task of the request first runs."""
        receive = self.cycle.receive
        if not isinstance(receive, InterruptibleReceive):
            self.cycle.receive = receive = InterruptibleReceive(receive)  # type: ignore[method-assign]
        return receive

    def _head_too_large(self) -> ServiceError:
        return HeadTooLargeError(
            f"The head of the request is over the limit of {self._max_bytes:,} bytes; "
            "send fewer or shorter headers."
        )

    def _refuse(self, error: ServiceError) -> None:
        """Ignores all further input, has the error answered in its place, and closes."""
        self._ignores_input = True
        self._stop_timer_for_input()
        if self._in_body:
            if self.cycle.response_complete:
                # It was answered without its body. One more answer would belong to no request.
                self.transport.close()
            self.cycle.keep_alive = False
            self._watch_body().error = error
            self.cycle.message_event.set()
        elif self.cycle is None or self.cycle.keep_alive:
            to_head = self.url != b"" and self.parser.get_method() == b"HEAD"
            self._refusal = _Refusal(error, to_head=to_head)
            if not self._owes_answer():
                self._write_refusal(self._refusal)

    def _write_refusal(self, refusal: "_Refusal") -> None:
        """Answers in the place of the app, and closes the connection."""
        if self.transport.is_closing():
            return
        problem = problems.describe(refusal.error, new_request_id())
        headers = {"Connection": "close", "X-Request-ID": problem.request_id}
        response = problems.respond(problem, path="", headers=headers)
        lines = [*self.server_state.default_headers, *response.raw_headers]
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        body = b"" if refusal.to_head else bytes(response.body)
        self.transport.write(STATUS_LINE[problem.status] + head + b"\r\n" + body)
        self.transport.close()
        self._access_log.record_refusal(
            status=problem.status,
            error=refusal.error,
            request_id=problem.request_id,
            client=self.client[0] if self.client else "unknown",
            sent_bytes=len(body),
            started_at=self._started_at,
        )

    def _linger(self) -> bool:
        """Drops what the client still sends, for as long as a head may take."""
        if self._in_body or self._ignores_input:
            self._is_lingering = self._ignores_input = True
            self.flow.resume_reading()
            self._start_timer()
        return self._is_lingering

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self._max_seconds, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_timer_for_input(self) -> None:
        """Stops the timer, unless the client still has to read what was written."""
        if not self.flow.write_paused:
            self._stop_timer()

    def _on_timeout(self) -> None:
        if self._ignores_input or self._in_body or not self._received or self._owes_answer():
            self.transport.abort()
        else:
            self._refuse(
                SlowHeadError(
                    f"The head of the request took longer than {self._max_seconds:g} s to arrive; "
                    "send it in one piece."
                )
            )


class _Refusal(NamedTuple):
    error: ServiceError
    to_head: bool  # no answer to HEAD has a body
