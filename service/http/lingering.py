"""Closes a connection without losing the last answer."""

from collections.abc import Callable

from service.http.joining import JoiningTransport


class LingeringTransport:
    """A transport that can end its own direction first, and be closed later.

    Bytes that arrive at a closed connection make the kernel drop what the client has not read yet.
    """

    def __init__(self, transport: JoiningTransport, linger: Callable[[], bool]) -> None:
        """Wraps a transport.

        Args:
            transport: the transport.
            linger: called on `close`; returns whether the client may still be sending. It has to
                drop those bytes, and abort the transport after some time.
        """
        self.write = transport.write
        self.abort = transport.abort
        self._transport = transport
        self._linger = linger
        self._is_lingering = False

    def is_closing(self) -> bool:
        """Whether no more can be written."""
        return self._is_lingering or self._transport.is_closing()

    def close(self) -> None:
        """Closes the transport, or ends its own direction alone; a second call closes it."""
        if not self.is_closing() and self._linger():
            self._is_lingering = True
            self._transport.write_eof()
        else:
            self._transport.close()
