"""Bodies on their way: how large they may be, how long they may take, and how many may wait."""

import asyncio

from starlette.types import Message, Receive, Scope

from service.errors import BodyTooLargeError, QueueFullError, SlowBodyError
from service.http.headers import header


class Bodies:
    """All bodies of one process that arrive, or whose requests are not answered yet.

    Only bytes that have arrived count as pending: a stated length holds nothing that others need.
    """

    def __init__(self, *, max_bytes: int, max_pending_bytes: int, max_seconds: float) -> None:
        """There are none yet.

        Args:
            max_bytes: largest body.
            max_pending_bytes: most bytes of all requests that are not answered yet.
            max_seconds: longest time that a body may take to arrive.
        """
        self.max_bytes = max_bytes
        self.max_pending_bytes = max_pending_bytes
        self.max_seconds = max_seconds
        self.pending_bytes = 0
        # The first to come is the first that is late.
        self.under_way: dict[Body, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, scope: Scope, receive: Receive) -> "Body":
        """The body of a request that begins."""
        length = header(scope, b"content-length")
        body = Body(self, receive, int(length) if length.isdigit() else 0)
        if self._timer is None:
            self._timer = body.loop.call_at(body.deadline, self._stop_late)
        self.under_way[body] = None
        return body

    def end(self, scope: Scope, body: "Body") -> None:
        """Forgets the body of a request that is answered."""
        self.under_way.pop(body, None)
        self.pending_bytes -= body.arrived
        scope["state"]["received_bytes"] = body.arrived

    def _stop_late(self) -> None:
        """Stops what is late; one timer for all bodies, for few of them are."""
        self._timer = None
        for body in list(self.under_way):
            if body.deadline > body.loop.time():
                self._timer = body.loop.call_at(body.deadline, self._stop_late)
                return
            del self.under_way[body]
            body.stop()


class Body:
    """One body, and the bytes of it that have arrived."""

    def __init__(self, bodies: Bodies, receive: Receive, stated: int) -> None:
        """Begins to count; see `Bodies.begin`."""
        self.arrived = 0
        self.loop = asyncio.get_running_loop()
        self.deadline = self.loop.time() + bodies.max_seconds
        self._bodies = bodies
        self._receive = receive
        self._stated = stated
        self._complete = False
        self._late = False
        self._reader: asyncio.Task[object] | None = None

    async def receive(self) -> Message:
        """Receives the next message, in the place of the server's own `receive`.

        Raises:
            BodyTooLargeError: the body is over the limit; at once where its length is stated.
            QueueFullError: too many bytes are pending.
            SlowBodyError: the body takes too long to arrive.
        """
        if self._complete:
            return await self._receive()  # which waits for the client to leave
        self._check(self._stated)
        self._reader = asyncio.current_task()
        try:
            if self._late:
                raise self._slow()
            message = await self._receive()
        except asyncio.CancelledError:
            # `uncancel` tells whether someone else has cancelled the task, too.
            if self._late and self._reader is not None and not self._reader.uncancel():
                raise self._slow() from None
            raise
        finally:
            self._reader = None
        if not message.get("more_body"):
            self._complete = True
            self._bodies.under_way.pop(self, None)
        size = len(message.get("body", b""))
        self.arrived += size
        self._bodies.pending_bytes += size
        self._check(self.arrived)
        return message

    def stop(self) -> None:
        """Wakes the reader, or fails it when it reads on."""
        self._late = True
        if self._reader is not None:
            self._reader.cancel()

    def _slow(self) -> SlowBodyError:
        return SlowBodyError(
            f"The request took longer than {self._bodies.max_seconds:g} s to arrive; "
            "send less at a time."
        )

    def _check(self, size: int) -> None:
        """Refuses a body of which so many bytes are stated, or have arrived."""
        bodies = self._bodies
        if size > bodies.max_bytes:
            raise BodyTooLargeError(
                f"The request is over the limit of {bodies.max_bytes:,} bytes; send less at a time."
            )
        if size and bodies.pending_bytes - self.arrived + size > bodies.max_pending_bytes:
            raise QueueFullError("Too many bytes are waiting; try again in a moment.")
