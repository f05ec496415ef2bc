"""Limits the size and the time of request bodies, and the bytes that wait in all."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.admission.pending_bytes import PendingBytes
from service.errors import BodyTooLargeError, SlowBodyError
from service.http.context import context_of


class BodyLimitMiddleware:
    """Stops reading a body that is too large or too slow, or for which there is no room.

    Starlette limits only the size. Only bytes that have arrived count as pending; a stated
    Content-Length reserves nothing.
    """

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, pending: PendingBytes, max_seconds: float
    ) -> None:
        """Wraps an app.

        Args:
            app: the app.
            max_bytes: size of the largest body.
            pending: counts the bytes of all requests that are not answered yet.
            max_seconds: longest time for a body to arrive.
        """
        self._app = app
        self.max_bytes = max_bytes
        self.pending = pending
        self.max_seconds = max_seconds
        # In the order of their deadlines, since all have the same time.
        self.arriving: dict[_Body, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = context_of(scope)
        length = context.headers.get(b"content-length", b"")
        body = _Body(self, receive, int(length) if length.isdigit() else 0)
        if self._timer is None:
            self._timer = body.loop.call_at(body.deadline, self._stop_late_bodies)
        self.arriving[body] = None
        context.hold = body.hold
        try:
            await self._app(scope, body.receive, send)
        finally:
            self.arriving.pop(body, None)
            self.pending.remove(body.received_bytes + body.held_bytes)
            context.received_bytes = body.received_bytes
            context.hold = lambda _size: None  # else a reference cycle would keep the request

    def _stop_late_bodies(self) -> None:
        """Stops the bodies whose time is over; one timer serves all, since few of them are late."""
        self._timer = None
        for body in list(self.arriving):
            if body.deadline > body.loop.time():
                self._timer = body.loop.call_at(body.deadline, self._stop_late_bodies)
                return
            del self.arriving[body]
            body.stop()


class _Body:
    """One body, and the number of its bytes that have arrived."""

    def __init__(self, limit: BodyLimitMiddleware, receive: Receive, stated_bytes: int) -> None:
        self.received_bytes = self.held_bytes = 0
        self.loop = asyncio.get_running_loop()
        self.deadline = self.loop.time() + limit.max_seconds
        self._limit = limit
        self._receive = receive
        self._stated_bytes = stated_bytes
        self._complete = False
        self._late = False
        self._reader: asyncio.Task[object] | None = None

    async def receive(self) -> Message:
        """Receives the next message in place of the server's own `receive`.

        Raises:
            BodyTooLargeError: the body is over the limit; at once where its length is stated.
            QueueFullError: too many bytes are pending.
            SlowBodyError: the body takes too long to arrive.
        """
        if self._complete:
            return await self._receive()  # which returns when the client disconnects
        self._check(self._stated_bytes)
        self._reader = asyncio.current_task()
        try:
            if self._late:
                raise self._slow()
            message = await self._receive()
        except asyncio.CancelledError:
            # Something else may have cancelled the task too: `uncancel` tells.
            if self._late and self._reader is not None and not self._reader.uncancel():
                raise self._slow() from None
            raise
        finally:
            self._reader = None
        if not message.get("more_body"):
            self._complete = True
            self._limit.arriving.pop(self, None)
        size = len(message.get("body", b""))
        self.received_bytes += size
        self._limit.pending.add(size)
        self._check(self.received_bytes)
        return message

    def hold(self, size: int) -> None:
        """Counts more bytes that the request keeps, of its body once that is decompressed.

        Raises:
            BodyTooLargeError: the decompressed body is over the limit.
            QueueFullError: too many bytes are pending.
        """
        self.held_bytes += size
        self._limit.pending.add(size)
        self._check(self.held_bytes)

    def stop(self) -> None:
        """Fails the task that reads the body, now or when it reads on."""
        self._late = True
        if self._reader is not None:
            self._reader.cancel()

    def _slow(self) -> SlowBodyError:
        return SlowBodyError(
            f"The request took longer than {self._limit.max_seconds:g} s to arrive; "
            "send less at a time."
        )

    def _check(self, size: int) -> None:
        """Refuses a body of which `size` bytes are stated or have arrived."""
        limit = self._limit
        if size > limit.max_bytes:
            raise BodyTooLargeError(
                f"The request is over the limit of {limit.max_bytes:,} bytes; send less at a time."
            )
        limit.pending.check(size, own=self.received_bytes + self.held_bytes)
