"""Accepting connections, many in one iteration of the event loop."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable

# The most that are accepted before the requests on other connections are handled again. Workers
# share a Unix socket: one that accepted many of a burst would take them from the others.
ACCEPTS = 128
ACCEPTS_OF_SHARED = 1
# After an error that lasts, mostly too many open files. The connections wait meanwhile.
_RETRY_S = 1.0

logger = logging.getLogger(__name__)


class Acceptor:
    """Accepts the connections that arrive at one listener until it is closed.

    The servers of uvloop accept one connection in each iteration of the event loop (libuv since
    1.45). Under load an iteration is long, and new clients and probes would wait for as many of
    them as there are connections before theirs: 4 s beside 640 clients who are refused, now 0.8 s.
    """

    def __init__(
        self, listener: socket.socket, make_protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        """Begins at once; the listener does not block, and stays open afterwards."""
        self._listener = listener
        is_shared = listener.family == socket.AF_UNIX
        self._accepts = ACCEPTS_OF_SHARED if is_shared else ACCEPTS
        self._make_protocol = make_protocol
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._begin()

    def close(self) -> None:
        """Accepts no more connections."""
        self._loop.remove_reader(self._listener)
        if self._retry is not None:
            self._retry.cancel()

    def _begin(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(self._accepts):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                logger.error("cannot accept", extra={"fields": {"reason": error.strerror}})
                self._loop.remove_reader(self._listener)
                self._retry = self._loop.call_later(_RETRY_S, self._begin)
                return
            task = self._loop.create_task(self._serve(connection))
            self._tasks.add(task)  # the event loop keeps only a weak reference
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client has left already
            await self._loop.connect_accepted_socket(self._make_protocol, connection)
